//! The demo: a gateway, three receivers with a plugin chain each, and the GitHub events of `tests/fixtures/github/`. It
//! shows what became of each event and why, and ends by itself, or by Ctrl-C at any time.
//!
//! It speaks the API as a user does, through the harness of the black-box tests.
//!
//! | module | what it is |
//! |---|---|
//! | [`scene`] | the tenant, its endpoints and their chains |
//! | [`events`] | the real payloads |
//! | [`story`] | what became of one event, as its attempts tell it |
//! | [`tally`] | the counts |
//! | [`paint`] | colour, where a person looks on |

mod events;
mod paint;
mod scene;
mod story;
mod tally;

use std::process::ExitCode;

use hookmill_tests::{Gateway, Receiver};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::paint::Paint;
use crate::scene::Scene;
use crate::tally::Tally;

/// Slow enough to be seen, fast enough to be waited for.
const RETRY_SCHEDULE: &str = "500ms,1s,2s";

/// What a shell reports of a program that an interrupt ended: 128 + SIGINT.
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    let keep = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [flag] if flag == "--keep" => true,
        other => {
            eprintln!("demo: unknown argument {other:?}; it takes --keep or nothing");
            return ExitCode::from(2);
        }
    };
    let mut stop = Stop::new();
    let paint = Paint::of_stdout();
    let builder = Gateway::builder()
        .retry_schedule(RETRY_SCHEDULE)
        .own_group();
    // Dropped half-way, the start kills what it has started and removes its directory.
    let gateway = tokio::select! {
        gateway = builder.start() => gateway,
        () = stop.asked() => return ExitCode::from(INTERRUPTED),
    };
    println!("{} at {}", paint.bold("gateway"), gateway.url());

    let code = tokio::select! {
        code = play(&gateway, paint, keep) => code,
        () = stop.asked() => {
            println!("\nstopping");
            ExitCode::from(INTERRUPTED)
        }
    };
    shut_down(gateway, code).await
}

async fn play(gateway: &Gateway, paint: Paint, keep: bool) -> ExitCode {
    let scene = Scene::set(gateway).await;
    println!("{}", scene.describe(paint));

    let mut tally = Tally::default();
    for event in events::all() {
        let message = scene.send(&event).await;
        println!("{} {}", paint.bold(&event.name), paint.faint(&message));
        for place in scene.places() {
            let story = story::of(&scene.tenant, &message, place).await;
            println!("  {}", story.line(place, paint));
            tally.add(place.name, &story);
        }
    }
    println!("\n{tally}");
    if keep {
        println!("{}", scene.invitation(gateway).await);
        watch(&scene, paint).await;
    }
    if tally.all_settled_well() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Shows whatever arrives from now on, without end.
async fn watch(scene: &Scene, paint: Paint) {
    let [first, second, third] = scene.places();
    tokio::join!(
        watch_one(first.name, &first.receiver, paint),
        watch_one(second.name, &second.receiver, paint),
        watch_one(third.name, &third.receiver, paint),
    );
}

async fn watch_one(name: &str, receiver: &Receiver, paint: Paint) {
    let mut seen = receiver.count();
    loop {
        let request = receiver.next_after(seen).await;
        seen += 1;
        println!("{} got {}", paint.bold(name), story::excerpt(&request));
    }
}

async fn shut_down(mut gateway: Gateway, code: ExitCode) -> ExitCode {
    let status = gateway.terminate().await;
    if status.success() {
        println!("the gateway has ended and its directory is removed");
        code
    } else {
        eprintln!(
            "demo: the gateway ended with {status}; its log:\n{}",
            gateway.log()
        );
        ExitCode::FAILURE
    }
}

/// The two signals that end a program.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn new() -> Self {
        let listen = |kind| signal(kind).expect("this process may have handlers for its signals");
        Self {
            interrupt: listen(SignalKind::interrupt()),
            terminate: listen(SignalKind::terminate()),
        }
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => (),
            _ = self.terminate.recv() => (),
        }
    }
}
