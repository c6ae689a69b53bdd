//! The pages in a real browser: they fit the screens of a phone and a desktop, every link has a target, every control
//! can be focused, and the console has no errors. Skipped with a message if no Chromium is installed.

#[path = "sample/mod.rs"]
mod sample;

use seawall_reports::{html, svg};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const CHECKER: &str = include_str!("checker.js");

#[test]
fn the_page_works_in_a_browser_on_a_phone_and_on_a_desktop() {
    let Some(chromium) = chromium() else { return };
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("page");
    fs::create_dir_all(&dir).unwrap();
    let page = html::soak(&sample::soak());
    assert!(page.len() < 3_000_000, "the page has {} bytes", page.len());
    fs::write(dir.join("index.html"), &page).unwrap();
    let (before, rest) = page.split_once("<script>").unwrap();
    let (_, after) = rest.split_once("</script>").unwrap();
    for (name, page) in [("checked.html", page.clone()), ("scriptless.html", format!("{before}{after}"))] {
        fs::write(dir.join(name), page.replacen("<head>", &format!("<head><script>{CHECKER}</script>"), 1)).unwrap();
    }
    for (name, width) in [("checked.html", 360), ("checked.html", 1280), ("scriptless.html", 360)] {
        let result = checked(&chromium, &dir, name, width);
        assert_eq!(result["width"], width, "the page was not laid out at that width");
        assert_eq!(result["wrong"], serde_json::json!([]), "{name} at a width of {width}");
        assert_eq!(result["chips"], 66);
        assert_eq!(result["images"], 65, "all cells except the one that was not measured have a timeline");
        assert!(result["controls"].as_u64().unwrap() > 66 * 4);
    }
}

#[test]
fn screenshots_are_taken_in_both_schemes() {
    let Some(chromium) = chromium() else { return };
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("shots");
    fs::create_dir_all(&dir).unwrap();
    let record = sample::soak();
    // One cell is open, so that the screenshot shows its details.
    let page =
        html::soak(&record).replacen(r#"<details class="cell v-lost">"#, r#"<details open class="cell v-lost">"#, 1);
    fs::write(dir.join("page.html"), page).unwrap();
    fs::write(dir.join("matrix.svg"), svg::matrix(&record)).unwrap();
    let lost = record.matrix.iter().filter(|c| c.lost > 0).find_map(|c| c.sample.as_ref()).unwrap();
    fs::write(dir.join("timeline.svg"), svg::timeline(lost)).unwrap();
    for picture in ["matrix.svg", "timeline.svg"] {
        let dom = browse(&chromium, &["--dump-dom", &url(&dir.join(picture))]);
        assert!(dom.contains("<svg") && !dom.contains("parsererror"), "{picture} is not XML to the browser");
    }
    fs::write(dir.join("phone.html"), frame("page.html", 360, 7000)).unwrap();
    for (scheme, setting) in [("light", "1"), ("dark", "0")] {
        for (file, size) in [
            ("page.html", "1280,4200"),
            ("phone.html", "500,7000"),
            ("matrix.svg", "720,900"),
            ("timeline.svg", "960,330"),
        ] {
            let shot = dir.join(format!("{}-{scheme}.png", file.split('.').next().unwrap()));
            shoot(&chromium, &dir.join(file), &shot, size, setting);
        }
    }
    println!("pictures are in {}", dir.display());
}

#[test]
fn a_story_works_in_a_browser_and_is_drawn_in_both_schemes() {
    let Some(chromium) = chromium() else { return };
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("story");
    fs::create_dir_all(&dir).unwrap();
    for (name, story, items, height) in
        [("race", sample::story::story(), 8, 720), ("eventful", sample::story::eventful(), 21, 1960)]
    {
        let page = html::story(&story);
        let (before, rest) = page.split_once("<script>").unwrap();
        let (_, after) = rest.split_once("</script>").unwrap();
        for (script, page) in [("with", page.clone()), ("without", format!("{before}{after}"))] {
            let file = format!("{name}-{script}.html");
            fs::write(dir.join(&file), page.replacen("<head>", &format!("<head><script>{CHECKER}</script>"), 1))
                .unwrap();
            for width in [360, 800, 1280] {
                let result = checked(&chromium, &dir, &file, width);
                assert_eq!(result["wrong"], serde_json::json!([]), "{file} at a width of {width}");
                assert_eq!(result["steps"], items, "{file}");
            }
        }
        fs::write(dir.join(format!("{name}.html")), &page).unwrap();
        let picture = dir.join(format!("{name}.svg"));
        fs::write(&picture, svg::sequence(&story)).unwrap();
        let dom = browse(&chromium, &["--dump-dom", &url(&picture)]);
        assert!(dom.contains("<svg") && !dom.contains("parsererror"), "{name} is not XML to the browser");
        for (scheme, setting) in [("light", "1"), ("dark", "0")] {
            shoot(&chromium, &picture, &dir.join(format!("{name}-{scheme}.png")), &format!("820,{height}"), setting);
        }
        shoot(&chromium, &dir.join(format!("{name}.html")), &dir.join(format!("{name}-page.png")), "1280,2400", "1");
    }
    println!("pictures are in {}", dir.display());
}

#[test]
fn the_page_of_power_cuts_works_in_a_browser_and_is_drawn_in_both_schemes() {
    let Some(chromium) = chromium() else { return };
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("power");
    fs::create_dir_all(&dir).unwrap();
    let page = html::power(&sample::power::power());
    fs::write(dir.join("index.html"), page.replace("<details class=\"cell", "<details open class=\"cell")).unwrap();
    fs::write(dir.join("checked.html"), page.replacen("<head>", &format!("<head><script>{CHECKER}</script>"), 1))
        .unwrap();
    for width in [360, 800, 1280] {
        let result = checked(&chromium, &dir, "checked.html", width);
        assert_eq!(result["wrong"], serde_json::json!([]), "at a width of {width}");
        assert_eq!(result["steps"], 5);
    }
    for (scheme, setting) in [("light", "1"), ("dark", "0")] {
        let shot = dir.join(format!("power-{scheme}.png"));
        shoot(&chromium, &dir.join("index.html"), &shot, "1280,1900", setting);
    }
    println!("pictures are in {}", dir.display());
}

fn shoot(chromium: &Path, file: &Path, shot: &Path, size: &str, setting: &str) {
    let _ = fs::remove_file(shot);
    browse(
        chromium,
        &[
            &format!("--screenshot={}", shot.display()),
            &format!("--window-size={size}"),
            &format!("--blink-settings=preferredColorScheme={setting}"),
            "--hide-scrollbars",
            &url(file),
        ],
    );
    assert!(fs::metadata(shot).is_ok_and(|m| m.len() > 5_000), "no picture at {}", shot.display());
}

/// The result of the checker with the page in a frame of the given width. A window cannot be as narrow as a phone.
fn checked(chromium: &Path, dir: &Path, name: &str, width: u32) -> serde_json::Value {
    let host = dir.join(format!("host-{width}-{name}"));
    fs::write(&host, frame(name, width, 900)).unwrap();
    let dom = browse(chromium, &["--virtual-time-budget=20000", "--window-size=1400,1000", "--dump-dom", &url(&host)]);
    let found = dom.split("data-found=\"").nth(1).and_then(|rest| rest.split('"').next());
    let Some(found) = found else {
        panic!("the checker returned nothing: {}", dom.chars().take(2_000).collect::<String>())
    };
    let found = found.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    serde_json::from_str(&found).unwrap()
}

fn frame(page: &str, width: u32, height: u32) -> String {
    format!(
        r#"<!doctype html><body style="margin:0"><iframe src="{page}" width="{width}" height="{height}" style="border:0;display:block"></iframe><script>addEventListener("message",function(e){{document.body.setAttribute("data-found",JSON.stringify(e.data))}})</script></body>"#
    )
}

fn url(path: &Path) -> String {
    format!("file://{}", path.display())
}

/// The output of the browser. Panics with its error output if it fails.
fn browse(chromium: &Path, args: &[&str]) -> String {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(chromium)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {stderr}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found =
        names.iter().flat_map(|name| std::env::split_paths(&path).map(move |dir| dir.join(name))).find(|p| p.is_file());
    if found.is_none() {
        println!("skipped: no {} on the PATH, so the page was not opened in a browser", names.join(", "));
    }
    found
}
