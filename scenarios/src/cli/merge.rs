//! `seawall merge`: one record of all shares of a soak.

use super::args::MergeArgs;
use super::{Complaint, Exit, report, say, soak};
use crate::expectations::Expectations;
use crate::soak::merge;

pub(super) fn run(args: &MergeArgs) -> Result<Exit, Complaint> {
    let records = args.records.iter().map(|path| report::read(path)).collect::<Result<Vec<_>, _>>()?;
    if let Some(out) = &args.out {
        soak::check_out(out)?;
    }
    let record = merge::merge(&records, &Expectations::reviewed()).map_err(|error| {
        let path = error.record().and_then(|nth| args.records.get(nth - 1));
        let path = path.map(|path| format!("{}: ", path.display())).unwrap_or_default();
        Complaint::usage(format!("{path}{error}"))
    })?;
    report::deliver(&record, args.out.as_deref(), args.format)?;
    let missing = merge::missing(&record);
    if !missing.is_empty() {
        let of = record.shares.first().map_or(0, |share| share.of);
        let numbers: Vec<String> = missing.iter().map(u64::to_string).collect();
        say(&format!("not all {of} shares are there; missing: {}", numbers.join(", ")));
    }
    Ok(soak::exit(&record))
}
