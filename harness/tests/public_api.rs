//! The public surface of the crate, held against `docs/harness-api.txt`. The words of `call::Method` and `call::Role`
//! are written by a macro, and are not in the list.

#[path = "../../tests/surface/mod.rs"]
#[expect(dead_code, reason = "the other package's test asks for more")]
mod surface;

use std::path::Path;

#[test]
fn the_public_surface_is_the_reviewed_one() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = surface::Sources::read("seawall_harness", folder);
    sources.check(&folder.join("../docs/harness-api.txt"), "seawall-harness");
}
