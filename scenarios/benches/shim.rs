//! What the shim costs, in time per WAL commit: the platform's VFS, the shim switched off, armed, armed and tracing.
//!
//! For a verdict rather than an impression see the bench `instructions`.

mod variants;

use criterion::{Criterion, criterion_group, criterion_main};
use std::time::Duration;
use variants::{Variant, Workload, Writer};

fn wal_commit(criterion: &mut Criterion) {
    for workload in Workload::ALL {
        let mut group = criterion.benchmark_group(format!("wal_commit/{}", workload.name()));
        for variant in Variant::ALL {
            let mut writer = Writer::new(workload, variant).expect("a new database");
            group.bench_function(variant.name(), |bencher| bencher.iter(|| writer.commit().expect("a commit")));
            writer.check().expect("rules that never fire");
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = wal_commit
}
criterion_main!(benches);
