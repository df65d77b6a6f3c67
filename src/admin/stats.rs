//! The stats page (A1.06): pools and members for people, with buttons.

use http::{StatusCode, header};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::answer::Answer;
use super::providers::ProviderStatus;
use super::status::{MemberStatus, PoolStatus, Status};

/// Between two looks of an open page, in seconds.
const REFRESH: u32 = 30;
/// Only what is in the page itself, and forms to where it came from.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; \
    base-uri 'none'";
const STYLE: &str = "body{font:14px/1.5 system-ui,sans-serif;margin:1.5rem;color:#222;background:#fff}\
    h1{font-size:1.3rem;margin:0}h2{font-size:1.1rem;margin:1.5rem 0 .3rem}\
    table{border-collapse:collapse;width:100%}th,td{padding:.25rem .6rem;border-bottom:1px solid #ddd;text-align:left}\
    td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}th{font-weight:600;background:#f5f5f5}\
    tr.out td{background:#fbe9e7}tr.off td{background:#eceff1}form{display:inline}button{font:inherit;margin-right:.2rem}\
    pre{background:#fbe9e7;padding:.6rem;overflow:auto}.note{color:#a33}";

/// The page for `status`.
pub(super) fn answer(status: &Status) -> Answer {
    Answer::new(StatusCode::OK, "text/html; charset=utf-8", page(status).into_string())
        .with(header::CONTENT_SECURITY_POLICY, POLICY)
        .with(header::X_FRAME_OPTIONS, "DENY")
        // Not `no-referrer`: with it a browser says `Origin: null` when a button is pressed.
        .with(header::REFERRER_POLICY, "same-origin")
}

fn page(status: &Status) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="refresh" content=(REFRESH);
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Sluicegate " (status.instance_id) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "Sluicegate " (status.version) " on " (status.instance_id) }
                p {
                    "up " (span(status.uptime_seconds)) ", generation " (status.generation) ", "
                    (status.connections) " connections"
                    @if status.draining { ", " strong.note { "draining" } }
                }
                form method="post" action="/control/reload" { button { "reload the configuration" } }
                @if let Some(reason) = &status.last_reload_refusal {
                    p.note { "The last reload was refused:" }
                    pre { (reason) }
                }
                @for jwks in &status.jwks { p { (jwks.text()) } }
                @for trouble in status.providers.iter().flat_map(ProviderStatus::troubles) { p.note { (trouble) } }
                @for pool in &status.pools { (table(pool)) }
            }
        }
    }
}

fn table(pool: &PoolStatus) -> Markup {
    html! {
        h2 {
            (pool.name) " (" (pool.balance) ")"
            @if !pool.usable { " " span.note { "no usable member" } }
            @if pool.panicking { " " span.note { "panic: ejections are ignored" } }
        }
        table {
            tr {
                th { "member" } th { "state" } th { "health" } th.n { "weight" } th.n { "in flight" } th.n { "requests" }
                th.n { "failures" } th.n { "ejections" } th { "last check" } th { "set to" }
            }
            @for member in &pool.members { (row(pool, member)) }
        }
    }
}

fn row(pool: &PoolStatus, member: &MemberStatus) -> Markup {
    let class = match (member.state.as_str(), member.usable) {
        ("ready", true) => "",
        ("ready", false) => "out",
        _ => "off",
    };
    html! {
        tr class=(class) {
            td title=(member.address) { (member.name) @if member.backup { " (backup)" } }
            td { (member.state_text()) } td { (member.health_text()) }
            td.n { (member.weight) } td.n { (member.in_flight_text()) } td.n { (member.requests) }
            td.n { (member.failures) } td.n { (member.ejections) } td { (member.check_text()) }
            td {
                @for action in ["ready", "drain", "maint"] {
                    @if action != member.state && member.health != "unresolved" {
                        form method="post" action=(action_path(pool, member, action)) { button { (action) } }
                    }
                }
            }
        }
    }
}

/// Where the button posts to.
fn action_path(pool: &PoolStatus, member: &MemberStatus, action: &str) -> String {
    let [pool, member] = [&pool.name, &member.name].map(|name| utf8_percent_encode(name, NON_ALPHANUMERIC));
    format!("/control/pools/{pool}/members/{member}/{action}")
}

/// Seconds for people: the two largest units.
pub fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests;
