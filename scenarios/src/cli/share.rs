//! Which share of the work is done here: by `--partition`, or by what a batch system tells the jobs of an array.

use super::Complaint;
use super::args::partition;
use seawall_harness::seed::Seed;

/// Variables of batch systems: those with the number of a job, the first number, and the number of jobs.
struct Array {
    number: &'static str,
    /// The variable of the first number, or the number itself.
    first: First,
    count: &'static str,
}

enum First {
    Variable(&'static str),
    Number(u64),
}

/// Slurm's job arrays; Indexed Jobs of Kubernetes, where the manifest sets the count; GitLab; CircleCI; Buildkite.
const ARRAYS: [Array; 5] = [
    Array {
        number: "SLURM_ARRAY_TASK_ID",
        first: First::Variable("SLURM_ARRAY_TASK_MIN"),
        count: "SLURM_ARRAY_TASK_COUNT",
    },
    Array { number: "JOB_COMPLETION_INDEX", first: First::Number(0), count: "JOB_COMPLETIONS" },
    Array { number: "CI_NODE_INDEX", first: First::Number(1), count: "CI_NODE_TOTAL" },
    Array { number: "CIRCLE_NODE_INDEX", first: First::Number(0), count: "CIRCLE_NODE_TOTAL" },
    Array { number: "BUILDKITE_PARALLEL_JOB", first: First::Number(0), count: "BUILDKITE_PARALLEL_JOB_COUNT" },
];

/// The share `(k, n)`: the one that is given, else that of the environment, else all of the work.
pub(super) fn share(given: Option<(u64, u64)>, seed: Option<Seed>) -> Result<(u64, u64), Complaint> {
    let share = match given {
        Some(share) => share,
        None => of_environment(&|name| std::env::var(name).ok())?.unwrap_or((1, 1)),
    };
    if share.1 > 1 && seed.is_none() {
        let (k, n) = share;
        return Err(Complaint::usage(format!("the share {k}/{n} needs --seed, the same one for all shares")));
    }
    Ok(share)
}

fn of_environment(variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<(u64, u64)>, Complaint> {
    let Some(array) = ARRAYS.iter().find(|array| variable(array.number).is_some()) else { return Ok(None) };
    let number = |name: &str| match variable(name) {
        Some(text) => text
            .parse::<u64>()
            .map_err(|_| Complaint::usage(format!("{name}={text} is no number; give the share by --partition K/N"))),
        None => Err(Complaint::usage(format!(
            "{} is set and {name} is not, so the number of shares is unknown; set it, or give --partition K/N",
            array.number
        ))),
    };
    let first = match array.first {
        First::Variable(name) => number(name)?,
        First::Number(first) => first,
    };
    let (nth, count) = (number(array.number)?, number(array.count)?);
    let text = format!("{}/{count}", nth.wrapping_sub(first).wrapping_add(1));
    let names = format!("{}={nth} and {}={count}", array.number, array.count);
    let share = partition(&text).map_err(|error| Complaint::usage(format!("{names} are no share: {error}")))?;
    Ok(Some(share))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share_of(variables: &[(&str, &str)]) -> Result<Option<(u64, u64)>, String> {
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned());
        of_environment(&find).map_err(|complaint| complaint.message)
    }

    #[test]
    fn jobs_of_arrays_know_their_share() {
        assert_eq!(share_of(&[]), Ok(None));
        let slurm = |id| [("SLURM_ARRAY_TASK_ID", id), ("SLURM_ARRAY_TASK_MIN", "5"), ("SLURM_ARRAY_TASK_COUNT", "4")];
        assert_eq!(share_of(&slurm("5")), Ok(Some((1, 4))));
        assert_eq!(share_of(&slurm("8")), Ok(Some((4, 4))));
        assert_eq!(share_of(&[("JOB_COMPLETION_INDEX", "0"), ("JOB_COMPLETIONS", "3")]), Ok(Some((1, 3))));
        assert_eq!(share_of(&[("CI_NODE_INDEX", "3"), ("CI_NODE_TOTAL", "3")]), Ok(Some((3, 3))));
        assert_eq!(share_of(&[("CIRCLE_NODE_INDEX", "2"), ("CIRCLE_NODE_TOTAL", "3")]), Ok(Some((3, 3))));
    }

    #[test]
    fn what_is_no_share_is_refused_by_its_name() {
        let unknown = share_of(&[("JOB_COMPLETION_INDEX", "0")]).unwrap_err();
        assert!(unknown.contains("JOB_COMPLETIONS is not, so the number of shares is unknown"), "{unknown}");
        let beyond = share_of(&[("CI_NODE_INDEX", "4"), ("CI_NODE_TOTAL", "3")]).unwrap_err();
        assert!(beyond.contains("CI_NODE_INDEX=4 and CI_NODE_TOTAL=3 are no share"), "{beyond}");
        let gaps =
            share_of(&[("SLURM_ARRAY_TASK_ID", "9"), ("SLURM_ARRAY_TASK_MIN", "1"), ("SLURM_ARRAY_TASK_COUNT", "5")]);
        assert!(gaps.unwrap_err().contains("are no share"));
        let word = share_of(&[("CI_NODE_INDEX", "one"), ("CI_NODE_TOTAL", "3")]).unwrap_err();
        assert!(word.contains("CI_NODE_INDEX=one is no number"), "{word}");
    }

    #[test]
    fn a_share_needs_a_seed() {
        assert!(share(Some((2, 3)), None).is_err());
        assert_eq!(share(Some((2, 3)), Some(Seed(1))).ok(), Some((2, 3)));
        assert_eq!(share(Some((1, 1)), None).ok(), Some((1, 1)));
    }
}
