// Convenience only: the page is complete without this script.
(function () {
  "use strict";
  function reveal() {
    var target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    var closed = target.closest("details:not([open])");
    if (closed) { closed.open = true; }
    if (target.classList.contains("body")) {
      target.closest("details").scrollIntoView();
      target.closest("details").querySelector("summary").focus({ preventScroll: true });
    }
  }
  addEventListener("hashchange", reveal);
  reveal();

  document.querySelectorAll(".copy").forEach(function (button) {
    button.hidden = false;
    button.addEventListener("click", function () {
      var code = button.parentNode.querySelector("code");
      function done(ok) {
        button.textContent = ok ? "Copied" : "Select and copy";
        setTimeout(function () { button.textContent = "Copy"; }, 2000);
      }
      function select() {
        var range = document.createRange();
        range.selectNodeContents(code);
        getSelection().removeAllRanges();
        getSelection().addRange(range);
        return document.execCommand && document.execCommand("copy");
      }
      if (navigator.clipboard) {
        navigator.clipboard.writeText(code.textContent).then(function () { done(true); }, function () { done(select()); });
      } else {
        done(select());
      }
    });
  });

  document.querySelectorAll(".tools").forEach(function (tools) {
    tools.hidden = false;
    tools.addEventListener("click", function (event) {
      var action = event.target.getAttribute("data-all");
      if (!action) return;
      document.querySelectorAll("details.cell").forEach(function (cell) { cell.open = action === "open"; });
    });
  });
})();
