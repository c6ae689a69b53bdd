//! Tests of all renderers on a made-up soak.

#[path = "../sample/mod.rs"]
mod sample;

mod html;
mod json;
mod junit;
mod markup;
mod power;
mod story;
mod svg;
mod text;
mod write;
