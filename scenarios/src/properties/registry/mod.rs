//! The registry against a model: which calls share a store, which are refused, and which get a new store.
//!
//! The files are real: under several spellings, behind symbolic links, under second hard links; renamed, deleted or
//! redirected while they are open; opened through stores and caches, with the same settings or others; closed, dropped,
//! and inherited by a forked child. The model asks the file system which file a name stands for.

mod model;
mod run;

use self::run::RegistryRun;
use super::{Counterexample, fewest_steps};
use rand::{Rng, RngExt};
use seawall_harness::seed::Seed;
use std::fmt;

const STEPS_MAX: usize = 20;

/// How many files there are, each with a number.
const FILES: usize = 2;

/// How many caches there are.
const CACHES: usize = 2;

/// Draws up to 20 steps, and executes them.
///
/// # Errors
/// The fewest steps for which registry and model differ.
pub fn case(seed: Seed) -> Result<(), Counterexample> {
    judge(draw(seed), false)
}

/// What an application does with databases, or another program with their files. Stores are counted back from the
/// newest; a step for a store that does not exist does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Open {
        spelling: Spelling,
        settings: Settings,
    },
    Call {
        store: usize,
    },
    Close {
        store: usize,
    },
    Drop {
        store: usize,
    },
    CallCache {
        cache: usize,
        spelling: Spelling,
    },
    CloseInCache {
        cache: usize,
        spelling: Spelling,
    },
    DropCache {
        cache: usize,
    },
    Rename {
        from: Spelling,
        to: Spelling,
    },
    Unlink(Spelling),
    /// Gives a file a second name.
    Link(usize),
    /// Redirects the symbolic link of the folder to another folder.
    Redirect,
    /// From now on the child acts.
    Fork,
}

/// One of the names of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spelling {
    file: usize,
    way: Way,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Plain,
    /// With `.` and doubled slashes.
    Dots,
    /// Out of the folder by `..` and back.
    Back,
    /// Through a symbolic link to the folder.
    LinkedFolder,
    /// Through a symbolic link to the file.
    LinkedFile,
    /// The second name.
    SecondName,
    /// From the working directory.
    Relative,
}

/// Settings of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settings {
    Usual,
    Other,
}

/// Executes the steps, and reduces them if they fail. `ignores_links` is a defect of the model, for the tests.
fn judge(steps: Vec<Step>, ignores_links: bool) -> Result<(), Counterexample> {
    let fails = |steps: &[Step]| execute(steps, ignores_links, &mut |_| {}).is_err();
    if !fails(&steps) {
        return Ok(());
    }
    let steps = fewest_steps(steps, fails);
    let mut story = String::new();
    let verdict = execute(&steps, ignores_links, &mut |line| story += &format!("  {line}\n"));
    let reason = verdict.err().map_or_else(|| "it did not happen again".to_owned(), |error| error.0);
    Err(Counterexample(format!("{story}{reason}")))
}

fn execute(steps: &[Step], ignores_links: bool, log: &mut dyn FnMut(fmt::Arguments<'_>)) -> Result<(), Counterexample> {
    let mut run = RegistryRun::new(ignores_links).map_err(Counterexample::new)?;
    let result = steps.iter().zip(1..).try_for_each(|(step, number)| {
        let Some((reply, expected)) = run.step(*step).map_err(Counterexample::new)? else { return Ok(()) };
        log(format_args!("{number}. {step:?}: {reply}"));
        let differs = || Counterexample(format!("it was {reply}, and the model says {expected}"));
        if reply == expected { Ok(()) } else { Err(differs()) }
    });
    run.end();
    result
}

fn draw(seed: Seed) -> Vec<Step> {
    let mut rng = seed.stream("registry").rng();
    // Few names, so that steps concern the same file.
    let files = rng.random_range(1..=FILES);
    let forks = rng.random_ratio(1, 6);
    let moves = rng.random_ratio(1, 3);
    let length = rng.random_range(2..=STEPS_MAX);
    (0..length).map(|_| draw_step(&mut rng, files, forks, moves)).collect()
}

fn draw_step(rng: &mut impl Rng, files: usize, forks: bool, moves: bool) -> Step {
    const WAYS: [Way; 10] = [
        Way::Plain,
        Way::Plain,
        Way::Plain,
        Way::Dots,
        Way::Back,
        Way::LinkedFolder,
        Way::LinkedFile,
        Way::SecondName,
        Way::SecondName,
        Way::Relative,
    ];
    let spelling =
        |rng: &mut dyn Rng| Spelling { file: rng.random_range(0..files), way: WAYS[rng.random_range(0..WAYS.len())] };
    let store = |rng: &mut dyn Rng| rng.random_range(0..3);
    let cache = |rng: &mut dyn Rng| rng.random_range(0..CACHES);
    let own_name = |rng: &mut dyn Rng| {
        let way = [Way::Plain, Way::Plain, Way::SecondName][rng.random_range(0..3)];
        Spelling { file: rng.random_range(0..files), way }
    };
    match rng.random_range(0..100) {
        0..2 if forks => Step::Fork,
        2..5 if moves => Step::Rename { from: own_name(rng), to: own_name(rng) },
        5..6 if moves => Step::Unlink(own_name(rng)),
        6..8 => Step::Redirect,
        8..12 => Step::Link(rng.random_range(0..files)),
        12..40 => {
            let settings = if rng.random_ratio(1, 6) { Settings::Other } else { Settings::Usual };
            Step::Open { spelling: spelling(rng), settings }
        }
        40..55 => Step::Call { store: store(rng) },
        55..62 => Step::Close { store: store(rng) },
        62..70 => Step::Drop { store: store(rng) },
        70..90 => Step::CallCache { cache: cache(rng), spelling: spelling(rng) },
        90..96 => Step::CloseInCache { cache: cache(rng), spelling: spelling(rng) },
        _ => Step::DropCache { cache: cache(rng) },
    }
}

#[cfg(test)]
mod tests {
    use super::model::Answer;
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn cases_repeat_and_reach_every_answer() {
        assert_eq!(draw(Seed(7)), draw(Seed(7)));
        assert_ne!(draw(Seed(7)), draw(Seed(8)));
        let mut seen: BTreeMap<Answer, u32> = BTreeMap::new();
        for nth in 0..1500 {
            let mut run = RegistryRun::new(false).unwrap();
            for step in draw(Seed(nth)) {
                if let Some((reply, _)) = run.step(step).unwrap() {
                    *seen.entry(reply.answer).or_default() += 1;
                }
            }
            run.end();
        }
        assert_eq!(seen.len(), Answer::COUNT, "{seen:?}");
        assert!(seen.values().all(|times| *times >= 20), "{seen:?}");
    }

    #[test]
    fn canary_a_model_that_ignores_hard_links_gives_a_short_counterexample() {
        let open = |way| Step::Open { spelling: Spelling { file: 0, way }, settings: Settings::Usual };
        let steps =
            vec![Step::Redirect, open(Way::Plain), Step::Call { store: 0 }, Step::Link(0), open(Way::SecondName)];
        assert_eq!(judge(steps.clone(), false), Ok(()));
        let story = judge(steps, true).unwrap_err().0;
        assert_eq!(story.lines().count(), 4, "{story}");
        let last = "it was refused for another name of the file (open: 0.db), and the model says fresh";
        assert!(story.lines().last().is_some_and(|line| line.starts_with(last)), "{story}");
    }
}
