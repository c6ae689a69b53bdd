// Runs in the page under test and reports to the parent of its frame.
(function () {
  var errors = [];
  addEventListener("error", function (e) { errors.push("error: " + e.message); });
  addEventListener("securitypolicyviolation", function (e) { errors.push("blocked: " + e.blockedURI); });
  ["error", "warn"].forEach(function (level) {
    var original = console[level];
    console[level] = function () { errors.push(level + ": " + Array.from(arguments).join(" ")); original.apply(console, arguments); };
  });
  function overflow(state) {
    var doc = document.documentElement;
    if (doc.scrollWidth <= innerWidth) return [];
    var wide = Array.from(document.body.querySelectorAll("*")).filter(function (e) {
      return e.getBoundingClientRect().right > innerWidth + 0.5 && !e.closest(".scroll,.replay pre");
    });
    return [state + " page is " + doc.scrollWidth + " wide: " + wide.slice(0, 4).map(function (e) { return e.tagName + "." + e.className; })];
  }
  function check() {
    var wrong = overflow("closed");
    document.querySelectorAll("a[href]").forEach(function (a) {
      var href = a.getAttribute("href");
      if (href[0] !== "#" || !document.getElementById(href.slice(1))) wrong.push("dead link " + href);
    });
    var chip = document.querySelector(".matrix a.chip");
    // The page of a story has no matrix.
    if (chip) location.hash = chip.getAttribute("href");
    setTimeout(function () {
      if (chip) {
        var cell = document.getElementById(chip.getAttribute("href").slice(1)).closest("details");
        if (!cell.open) wrong.push("a chip does not open its cell");
        var top = cell.querySelector("summary").getBoundingClientRect().top;
        if (top < 0 || top > innerHeight / 2) wrong.push("a chip does not scroll to its cell, which is at " + top);
      }
      document.querySelectorAll("svg.sequence text").forEach(function (t) {
        // Text is clipped if its width was estimated too small.
        var frame = t.parentNode.getAttribute("clip-path");
        if (!frame) return;
        var area = document.querySelector(frame.slice(4, -1) + " rect"), box = t.getBBox();
        var left = area.x.baseVal.value, right = left + area.width.baseVal.value;
        if (box.x < left || box.x + box.width > right) wrong.push("cut off: " + t.textContent);
      });
      document.querySelectorAll("details").forEach(function (d) { d.open = true; });
      wrong = wrong.concat(overflow("open"));
      var controls = Array.from(document.querySelectorAll("a[href],button,summary,[tabindex='0']")).filter(function (c) {
        return !c.closest("[hidden]");
      });
      controls.forEach(function (c) {
        c.focus();
        if (document.activeElement !== c) wrong.push("cannot focus " + c.outerHTML.slice(0, 80));
      });
      document.querySelectorAll(".scroll").forEach(function (s) {
        if (s.tabIndex !== 0) wrong.push("a scroller cannot be focused");
      });
      var tiny = Array.from(document.querySelectorAll(".matrix a.chip,button,summary")).filter(function (c) {
        return !c.closest("[hidden]") && c.getBoundingClientRect().height < 24;
      });
      if (tiny.length) wrong.push("too small to click: " + tiny[0].outerHTML.slice(0, 80));
      parent.postMessage({
        width: innerWidth, chips: document.querySelectorAll(".matrix a.chip").length, controls: controls.length,
        steps: document.querySelectorAll(".steps li").length,
        images: document.querySelectorAll("svg.timeline").length, wrong: wrong.concat(errors)
      }, "*");
    }, 200);
  }
  addEventListener("load", check);
})();
