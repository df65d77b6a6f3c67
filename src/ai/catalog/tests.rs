use http::HeaderValue;
use proptest::prelude::*;

use super::*;
use crate::config::ai::{Hold, KeyPlace, Prices};

fn provider(name: &str, kind: ProviderKind, models: &[&str], enabled: bool) -> Arc<Provider> {
    Arc::new(Provider {
        name: name.into(),
        kind,
        pool: 0,
        host: None,
        base_path: "/v1".to_owned(),
        keys: Vec::new(),
        key_place: KeyPlace::Bearer,
        models: models.iter().map(|model| Arc::from(*model)).collect(),
        headers: Vec::new(),
        speaks: Vec::new(),
        strip_body_fields: Vec::new(),
        enabled,
        lacks: None,
    })
}

fn anthropic() -> ProviderKind {
    ProviderKind::Anthropic { version: HeaderValue::from_static("2023-06-01") }
}

fn catalog(providers: Vec<Arc<Provider>>, models: &[(&str, &[&[ModelTarget]])]) -> Catalog {
    let models = models.iter().map(|(name, ranks)| {
        let ranks = ranks.iter().map(|rank| rank.to_vec()).collect();
        Arc::new(Model { name: (*name).into(), ranks, assumed_output: 4096, timeouts: AiTimeouts::default() })
    });
    Catalog::new(&Arc::new(Ai {
        providers,
        models: models.collect(),
        attempts: 3,
        assumed_output: 4096,
        max_buffered: 1 << 30,
        timeouts: AiTimeouts::default(),
        breaker: None,
        key_cooldown: std::time::Duration::from_secs(60),
        hold: Hold::default(),
        keepalive: std::time::Duration::ZERO,
        headers: true,
        prices: Prices::default(),
    }))
}

fn target(provider: usize, model: Option<&str>, weight: u32) -> ModelTarget {
    ModelTarget { provider, model: model.map(Arc::from), weight }
}

fn tried(catalog: &Catalog, model: &str) -> Option<Vec<(usize, String)>> {
    let plan = catalog.plan(model)?;
    Some(plan.candidates.iter().map(|candidate| (candidate.provider, candidate.model.to_string())).collect())
}

#[test]
fn targets_are_tried_in_order_under_the_names_their_providers_know() {
    let ranks: &[&[ModelTarget]] = &[&[target(1, None, 1)], &[target(0, Some("claude-sonnet-4-5"), 1)]];
    let catalog = catalog(Vec::new(), &[("gpt-4", ranks)]);
    let expected = vec![(1, "gpt-4".to_owned()), (0, "claude-sonnet-4-5".to_owned())];
    assert_eq!(tried(&catalog, "gpt-4"), Some(expected));
    assert_eq!(tried(&catalog, "gpt-5"), None);
}

#[test]
fn weighted_targets_of_a_rank_share_exactly_and_are_each_others_fallback() {
    let ranks: &[&[ModelTarget]] = &[&[target(0, None, 9), target(1, None, 1)]];
    let catalog = catalog(Vec::new(), &[("m", ranks)]);
    let mut firsts = [0; 2];
    for _ in 0..1000 {
        let order = tried(&catalog, "m").unwrap();
        firsts[order[0].0] += 1;
        assert_eq!(order.len(), 2);
        assert_ne!(order[0].0, order[1].0);
    }
    assert_eq!(firsts, [900, 100]);
}

#[test]
fn a_star_takes_every_other_model() {
    let (own, every): (&[&[ModelTarget]], &[&[ModelTarget]]) = (&[&[target(0, None, 1)]], &[&[target(1, None, 1)]]);
    let catalog = catalog(Vec::new(), &[("m", own), ("*", every)]);
    assert_eq!(tried(&catalog, "m"), Some(vec![(0, "m".to_owned())]));
    assert_eq!(tried(&catalog, "x"), Some(vec![(1, "x".to_owned())]));
    assert_eq!(&*catalog.plan("x").unwrap().label, "other");
}

#[test]
fn of_wildcards_the_longest_takes_a_model_that_has_no_name_of_its_own() {
    let to = |provider: usize, model: Option<&str>| vec![vec![target(provider, model, 1)]];
    let entries = [
        ("*", to(0, None)),
        ("gpt-*", to(1, None)),
        ("gpt-4*", to(2, None)),
        ("gpt-4o", to(3, None)),
        ("openai/*", to(4, Some("*"))),
        ("eu/*", to(5, Some("azure/*"))),
        ("any-*", to(6, Some("one"))),
    ];
    let ranks: Vec<Vec<&[ModelTarget]>> =
        entries.iter().map(|(_, ranks)| ranks.iter().map(Vec::as_slice).collect()).collect();
    let models: Vec<(&str, &[&[ModelTarget]])> =
        entries.iter().zip(&ranks).map(|((name, _), ranks)| (*name, ranks.as_slice())).collect();
    let catalog = catalog(Vec::new(), &models);
    for (asked, provider, served, label) in [
        ("gpt-4o", 3, "gpt-4o", "gpt-4o"),
        ("gpt-4o-mini", 2, "gpt-4o-mini", "gpt-4*"),
        ("gpt-5", 1, "gpt-5", "gpt-*"),
        ("gpt", 0, "gpt", "other"),
        ("openai/gpt-5", 4, "gpt-5", "openai/*"),
        ("eu/gpt-5", 5, "azure/gpt-5", "eu/*"),
        ("any-model", 6, "one", "any-*"),
    ] {
        assert_eq!(tried(&catalog, asked), Some(vec![(provider, served.to_owned())]), "{asked}");
        assert_eq!(&*catalog.plan(asked).unwrap().label, label, "{asked}");
    }
    assert_eq!(tried(&catalog, "openai/"), None, "nothing is left of the name");
    assert!(catalog.names().eq(["gpt-4o"].map(Arc::from).iter()), "wildcards are no names");
}

#[test]
fn a_model_that_a_wildcard_takes_is_counted_by_the_name_in_its_providers_list() {
    let providers = vec![provider("a", ProviderKind::OpenAi, &["gpt-5"], true)];
    let ranks: &[&[ModelTarget]] = &[&[target(0, Some("*"), 1)]];
    let catalog = catalog(providers, &[("openai/*", ranks)]);
    let label = |asked: &str| catalog.plan(asked).unwrap().label;
    assert_eq!((&*label("openai/gpt-5"), &*label("openai/invented")), ("gpt-5", "openai/*"));
    let names = |provider: usize, model: &str| catalog.by_wildcard(provider, model).collect::<Vec<_>>();
    assert_eq!(names(0, "gpt-5"), [Arc::from("openai/gpt-5")]);
    assert_eq!(names(1, "gpt-5"), [], "the wildcard does not lead there");
}

#[test]
fn an_open_catalogue_finds_the_provider_by_prefix_list_and_family() {
    let providers = vec![
        provider("anthropic", anthropic(), &[], true),
        provider("gpus", ProviderKind::OpenAiCompatible, &["llama-3", "claude-like"], true),
        provider("openai", ProviderKind::OpenAi, &[], true),
    ];
    let catalog = catalog(providers, &[]);
    assert_eq!(tried(&catalog, "gpus/meta/llama"), Some(vec![(1, "meta/llama".to_owned())]));
    assert_eq!(tried(&catalog, "llama-3"), Some(vec![(1, "llama-3".to_owned())]));
    assert_eq!(tried(&catalog, "claude-like"), Some(vec![(1, "claude-like".to_owned())]));
    assert_eq!(tried(&catalog, "claude-sonnet-4-5"), Some(vec![(0, "claude-sonnet-4-5".to_owned())]));
    assert_eq!(tried(&catalog, "gpt-4o"), Some(vec![(2, "gpt-4o".to_owned())]));
    assert_eq!(tried(&catalog, "mystery"), None);
}

#[test]
fn one_provider_alone_has_every_model() {
    let catalog = catalog(vec![provider("ollama", ProviderKind::OpenAiCompatible, &[], true)], &[]);
    assert_eq!(tried(&catalog, "anything:7b"), Some(vec![(0, "anything:7b".to_owned())]));
}

#[test]
fn a_provider_that_is_on_goes_before_one_that_is_off() {
    let off = provider("a", ProviderKind::OpenAi, &[], false);
    let on = provider("b", ProviderKind::OpenAi, &[], true);
    let both = catalog(vec![off.clone(), on], &[]);
    assert_eq!(tried(&both, "gpt-4o"), Some(vec![(1, "gpt-4o".to_owned())]));
    let off = catalog(vec![off], &[]);
    assert_eq!(tried(&off, "gpt-4o"), Some(vec![(0, "gpt-4o".to_owned())]));
}

proptest! {
    #[test]
    fn a_round_holds_every_target_by_its_weight(weights in prop::collection::vec(1_u32..=50, 1..6)) {
        let divisor = weights.iter().copied().fold(0, gcd);
        let round = round(&weights);
        for (index, weight) in weights.iter().enumerate() {
            let times = round.iter().filter(|target| **target == index).count();
            prop_assert_eq!(times as u32, weight / divisor);
        }
    }

    #[test]
    fn no_target_is_forgotten_whatever_the_weights(weights in prop::collection::vec(1_u32..=1000, 1..12)) {
        let round = round(&weights);
        prop_assert!(round.len() <= 1012);
        prop_assert!((0..weights.len()).all(|index| round.contains(&index)));
    }
}
