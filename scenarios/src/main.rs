//! The program `seawall`.

fn main() -> std::process::ExitCode {
    seawall_scenarios::cli::main()
}
