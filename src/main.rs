//! The `haremq` program.

use haremq::cli::{Command, Exit, Invocation, logging};

/// Messages are allocated on one thread and freed on another, by the million; this allocator is made for
/// that, and gives memory back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Exit {
    match Invocation::parse(std::env::args_os(), std::env::vars_os()) {
        Ok(Command::Serve(config)) => {
            if let Err(error) = logging::start(&config) {
                eprintln!("haremq: cannot log: {error}");
                return Exit::Failed;
            }
            haremq::serve::run(&config)
        }
        Ok(Command::Store(command)) => haremq::cli::store::run(command),
        Ok(Command::Print(text)) => {
            print!("{text}");
            Exit::Stopped
        }
        Err(usage) => {
            eprintln!("haremq: {usage}");
            Exit::Usage
        }
    }
}
