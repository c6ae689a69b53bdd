//! The program `seawall`.

fn main() -> std::process::ExitCode {
    seawall_lab::cli::main()
}
