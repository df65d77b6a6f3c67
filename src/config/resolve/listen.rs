//! `listen`: where clients connect.

use super::Resolver;
use super::tls;
use crate::config::problem::{Finding, KeyPath, Place};
use crate::config::raw::{Or, RawConfig, RawListener, RawRedirectHttps};
use crate::config::values::{self, Wrong, address};
use crate::config::{Environment, ListenAddress, Listener, Overrides, RedirectHttps};

const HTTPS: u16 = 443;

pub(super) fn listeners(raw: &RawConfig, resolver: &mut Resolver<'_>) -> Vec<Listener> {
    if let Some((name, texts)) = overridden(resolver.overrides, resolver.environment) {
        return plain(name, texts, resolver);
    }
    let path = KeyPath::default().key("listen");
    let Some(list) = &raw.listen else {
        resolver.missing(&KeyPath::default(), "listen", "an address such as `listen: 0.0.0.0:80`");
        return Vec::new();
    };
    if list.0.is_empty() {
        resolver.report(Finding::value(&path, "the list is empty").expected("an address such as 0.0.0.0:80"));
    }
    let mut found: Vec<(KeyPath, Listener)> = Vec::new();
    for (index, item) in list.items() {
        let path = path.index(index);
        let Some(listener) = listener(&path, item, resolver) else {
            continue;
        };
        if let Some((first, _)) = found.iter().find(|(_, other)| conflict(other, &listener)) {
            let finding = Finding::value(&address_path(&path, resolver), "two listeners cannot both have this address");
            let first = address_path(first, resolver);
            resolver.report(finding.also(first, "the other one"));
        }
        found.push((path, listener));
    }
    found.into_iter().map(|(_, listener)| listener).collect()
}

/// Whether both cannot be bound. Port 0 is any free port, so two of those never meet. Whether `[::]` takes IPv4 too is
/// the system's choice, and found out when binding.
fn conflict(one: &Listener, other: &Listener) -> bool {
    match (&one.address, &other.address) {
        (ListenAddress::Tcp(one), ListenAddress::Tcp(other)) => {
            let meet = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
            one.port() == other.port() && one.port() != 0 && meet && one.is_ipv4() == other.is_ipv4()
        }
        (one, other) => one == other,
    }
}

fn address_path(path: &KeyPath, resolver: &Resolver<'_>) -> KeyPath {
    let long = path.key("address");
    if resolver.source.has(&long) { long } else { path.clone() }
}

/// The addresses that a flag or the environment puts in the place of the file's listeners, with its name.
pub(in crate::config) fn overridden(
    overrides: &Overrides,
    environment: &Environment,
) -> Option<(&'static str, Vec<String>)> {
    let variable = "SLUICEGATE_LISTEN";
    if !overrides.listen.is_empty() {
        return Some(("--listen", overrides.listen.clone()));
    }
    let text = environment.variable(variable)?;
    let texts = text.split(',');
    Some((variable, texts.map(|text| text.trim().to_owned()).collect()))
}

/// Plain listeners at `texts`, which `name` asks for.
fn plain(name: &str, texts: Vec<String>, resolver: &mut Resolver<'_>) -> Vec<Listener> {
    let mut found: Vec<Listener> = Vec::new();
    for text in texts {
        let place = Place::Override(name.to_owned());
        match address::listen(&text) {
            Ok(address) => {
                let listener = Listener { address, redirect_https: None, http2: false, tls: None };
                if found.iter().any(|other| conflict(other, &listener)) {
                    resolver
                        .report(Finding::new(place, format!("the address {} stands here twice", values::quote(&text))));
                }
                found.push(listener);
            }
            Err(wrong) => resolver.wrong_at(place, wrong),
        }
    }
    found
}

fn listener(path: &KeyPath, item: &Or<RawListener>, resolver: &mut Resolver<'_>) -> Option<Listener> {
    let raw = match item {
        Or::Text(text) => {
            let address = resolver.get(path, &Some(text.clone()), address::listen)?;
            return Some(Listener { address, redirect_https: None, http2: false, tls: None });
        }
        Or::Map(raw) => raw,
    };
    let tls = raw.tls.as_ref().map(|raw| tls::listener(&path.key("tls"), raw, resolver));
    let redirect_path = path.key("redirect_https");
    let redirect_https = raw.redirect_https.as_ref().and_then(|raw| redirect(&redirect_path, raw, resolver));
    if redirect_https.is_some() && tls.is_some() {
        let finding = Finding::key(&redirect_path, "a listener with `tls` already speaks https");
        resolver.report(finding.hint("redirect_https belongs to the plain listener"));
    }
    let http2 = resolver.boolean(&path.key("http2"), &raw.http2, tls.is_some());
    if raw.address.is_none() {
        resolver.missing(path, "address", "an address such as 0.0.0.0:80");
    }
    let address = resolver.get(&path.key("address"), &raw.address, address::listen)?;
    Some(Listener { address, redirect_https, http2, tls })
}

fn redirect(path: &KeyPath, raw: &Or<RawRedirectHttps>, resolver: &mut Resolver<'_>) -> Option<RedirectHttps> {
    match raw {
        Or::Text(text) if text == "true" => Some(RedirectHttps { port: HTTPS }),
        Or::Text(text) if text == "false" => None,
        Or::Text(text) => resolver.get(path, &Some(text.clone()), port).map(|port| RedirectHttps { port }),
        Or::Map(raw) => {
            let port = resolver.get(&path.key("port"), &raw.port, port).unwrap_or(HTTPS);
            Some(RedirectHttps { port })
        }
    }
}

fn port(text: &str) -> Result<u16, Wrong> {
    match values::number::<u16>(text) {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(Wrong::not(text, "a port to redirect to").expected("true, false, or 1 to 65535")),
    }
}
