//! `hookmill token`: prints just the token, so that a script can take it from standard output.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::Failure;
use crate::api::{APPLICATION_TTL, JwtSecret, ORGANIZATION_TTL, Scope};
use crate::config::{self, Overrides};
use crate::domain::{
    ApplicationId, Clock as _, OrganizationId, Secret, SystemClock, parse_duration,
};

#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    /// The organization, `org_…`, or `new` for one that does not exist yet.
    #[arg(long, value_name = "ORG_ID", required_unless_present = "admin")]
    org: Option<String>,
    /// One application of it, `app_…`: the token reaches nothing else.
    #[arg(long, value_name = "APP_ID", requires = "org")]
    app: Option<ApplicationId>,
    /// A token for the operator: backups.
    #[arg(long, conflicts_with_all = ["org", "app"])]
    admin: bool,
    /// How long it is valid: `30m`, `1h`, `30d`. Default: 30 days, 1 hour for an application.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    ttl: Option<Duration>,
    /// Where `serve` made the secret file; not needed where HOOKMILL_JWT_SECRET is set.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Settings file that may hold either.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(args: &TokenArgs) -> Result<(), Failure> {
    println!("{}", mint(args)?);
    Ok(())
}

fn mint(args: &TokenArgs) -> Result<String, Failure> {
    let clock = SystemClock::start();
    let (scope, usual) = match (&args.org, args.app) {
        (None, _) => (Scope::Administrator, ORGANIZATION_TTL),
        (Some(org), None) => (
            Scope::Organization(organization(org, &clock)?),
            ORGANIZATION_TTL,
        ),
        (Some(org), Some(app)) => (
            Scope::Application {
                org: organization(org, &clock)?,
                app,
            },
            APPLICATION_TTL,
        ),
    };
    secret(args.config.as_deref(), args.data_dir.as_deref())?
        .mint(&scope, args.ttl.unwrap_or(usual), clock.wall())
        .map_err(Failure::other)
}

fn organization(text: &str, clock: &SystemClock) -> Result<OrganizationId, Failure> {
    match text {
        "new" => Ok(OrganizationId::generate(clock.wall())),
        id => id.parse().map_err(Failure::other),
    }
}

/// The secret in force for this data directory.
fn secret(file: Option<&Path>, data_dir: Option<&Path>) -> Result<JwtSecret, Failure> {
    let mut flags = Overrides::default();
    flags.set(
        "data_dir",
        data_dir.map(|dir| dir.to_string_lossy().into_owned()),
    );
    let settings = config::load(file, flags)?;
    match &settings.jwt_secret {
        Some(secret) => JwtSecret::new(&Secret::new(secret.expose())),
        None => JwtSecret::load(&settings.data_dir),
    }
    .map_err(Failure::other)
}
