use super::*;
use serde_json::{Value, json};

fn text(status: u16) -> ErrorText<'static> {
    ErrorText {
        status: StatusCode::from_u16(status).unwrap(),
        code: "CODE",
        message: "what \"happened\"",
        param: Some("model"),
        request_id: "r-1",
    }
}

fn rendered(dialect: Dialect, status: u16) -> Value {
    serde_json::from_slice(&render(dialect, &text(status))).unwrap()
}

fn understood(status: u16, body: &str) -> ProviderError {
    read(Dialect::Chat, StatusCode::from_u16(status).unwrap(), body.as_bytes())
}

#[test]
fn openai_clients_read_an_error_as_openai_writes_it() {
    let error = json!({"message": "what \"happened\"", "type": "invalid_request_error", "param": "model", "code": "CODE",
        "request_id": "r-1"});
    for dialect in [Dialect::Chat, Dialect::Completions, Dialect::Responses, Dialect::Other] {
        assert_eq!(rendered(dialect, 400), json!({"error": error}));
    }
    for (status, kind) in [
        (401, "authentication_error"),
        (404, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "server_error"),
        (503, "server_error"),
    ] {
        assert_eq!(rendered(Dialect::Chat, status)["error"]["type"], kind, "{status}");
    }
}

#[test]
fn anthropic_clients_read_an_error_as_anthropic_writes_it() {
    let error = json!({"type": "invalid_request_error", "message": "what \"happened\""});
    assert_eq!(rendered(Dialect::Messages, 400), json!({"type": "error", "error": error, "request_id": "r-1"}));
    for (status, kind) in [
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ] {
        assert_eq!(rendered(Dialect::Messages, status)["error"]["type"], kind, "{status}");
    }
}

#[test]
fn a_stream_that_breaks_ends_with_an_event_of_its_dialect() {
    let lost = ErrorText { message: "Upstream connection lost", param: None, ..text(502) };
    assert_eq!(
        event(Dialect::Messages, &lost, 4, None),
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"Upstream connection lost\"}}\n\n"
    );
    assert_eq!(
        event(Dialect::Chat, &lost, 4, None),
        "data: {\"error\":{\"message\":\"Upstream connection lost\",\"type\":\"server_error\",\"param\":null,\"code\":\"CODE\"}}\n\n"
    );
    let responses = event(Dialect::Responses, &lost, 4, None);
    let data = responses.strip_prefix(b"event: error\ndata: ").unwrap();
    let data: Value = serde_json::from_slice(data).unwrap();
    assert_eq!(
        (&data["type"], &data["code"], &data["error"]["code"]),
        (&json!("error"), &json!("CODE"), &json!("CODE"))
    );
    assert_eq!(data["sequence_number"], 4);
    assert_eq!(
        event(Dialect::Responses, &lost, 4, Some("server_error")),
        "event: error\ndata: {\"type\":\"error\",\"sequence_number\":4,\"code\":\"server_error\",\"message\":\"Upstream connection lost\",\"param\":null}\n\n",
        "as the provider says it, whose own words are not told"
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn every_known_shape_is_understood() {
    for (status, body, class) in [
        (
            401,
            r#"{"error":{"message":"Incorrect API key","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#,
            Class::Auth,
        ),
        (401, r#"{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}"#, Class::Auth),
        (401, r#"{"statusCode":401,"message":"Access denied due to invalid subscription key"}"#, Class::Auth),
        (403, r#"{"error":{"code":403,"message":"no","status":"PERMISSION_DENIED"}}"#, Class::Forbidden),
        (
            400,
            r#"{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT","details":[{"@type":"x","reason":"API_KEY_INVALID"}]}}"#,
            Class::Auth,
        ),
        (429, r#"{"error":{"message":"slow","type":"requests","code":"rate_limit_exceeded"}}"#, Class::RateLimited),
        (
            429,
            r#"{"error":{"message":"pay","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
            Class::QuotaExhausted,
        ),
        (429, r#"[{"error":{"code":429,"message":"x","status":"RESOURCE_EXHAUSTED"}}]"#, Class::RateLimited),
        (402, "{}", Class::QuotaExhausted),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the API."}}"#,
            Class::QuotaExhausted,
        ),
        (
            529,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}"#,
            Class::Overloaded,
        ),
        (503, "Service is currently degraded, please try again later", Class::Overloaded),
        (504, "<html>", Class::Timeout),
        (408, "", Class::Timeout),
        (
            400,
            r#"{"error":{"message":"x","type":"invalid_request_error","code":"context_length_exceeded"}}"#,
            Class::BadRequest,
        ),
        (
            400,
            r#"{"object":"error","message":"bad","type":"BadRequestError","param":null,"code":400}"#,
            Class::BadRequest,
        ),
        (
            422,
            r#"{"detail":[{"loc":["body"],"msg":"field required","type":"value_error.missing"}]}"#,
            Class::BadRequest,
        ),
        (
            404,
            r#"{"error":{"message":"no such model","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#,
            Class::NotFound,
        ),
        (404, r#"{"error":{"message":"no","type":"invalid_request_error"}}"#, Class::NotFound),
        (404, r#"{"error":"model 'x' not found"}"#, Class::NotFound),
        (413, r#"{"type":"error","error":{"type":"request_too_large","message":"x"}}"#, Class::TooLarge),
        (
            400,
            r#"{"error":{"code":"content_filter","message":"filtered","innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#,
            Class::ContentFilter,
        ),
        (500, r#"{"error":{"message":"oops","type":"server_error"}}"#, Class::Server),
        (500, "null", Class::Server),
        (502, r#"{"error":[]}"#, Class::Server),
        (200, r#"{"success":false,"message":"x","errorCode":"500"}"#, Class::Server),
        (200, r#"{"success":false,"message":"x","errorCode":"503"}"#, Class::Overloaded),
        (200, r#"{"error":{"message":"x","code":null}}"#, Class::Unknown),
        (
            200,
            r#"{"type":"response.failed","response":{"id":"r","status":"failed","error":{"code":"rate_limit_exceeded","message":"x"}}}"#,
            Class::RateLimited,
        ),
    ] {
        assert_eq!(understood(status, body).class, class, "{status} {body}");
    }
}

#[test]
fn codes_that_clients_know_are_kept() {
    for (status, body, code) in [
        (400, r#"{"error":{"code":"context_length_exceeded","message":"x"}}"#, "context_length_exceeded"),
        (404, r#"{"error":{"code":"DeploymentNotFound","message":"x"}}"#, "model_not_found"),
        (400, r#"{"error":{"code":"anything else","message":"x"}}"#, "invalid_request"),
        (
            400,
            r#"{"error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"}}"#,
            "context_length_exceeded",
        ),
        (400, r#"{"error":{"type":"invalid_request_error","message":"say: prompt is too long"}}"#, "invalid_request"),
        (
            400,
            r#"{"error":{"code":400,"status":"INVALID_ARGUMENT","message":"The input token count (1048577) exceeds the maximum number of tokens allowed (1048576)."}}"#,
            "context_length_exceeded",
        ),
        (
            400,
            r#"{"object":"error","type":"BadRequestError","code":400,"message":"This model's maximum context length is 4096 tokens."}"#,
            "context_length_exceeded",
        ),
        (
            400,
            r#"{"error":{"type":"invalid_request_error","message":"Output blocked by content filtering policy"}}"#,
            "content_policy_violation",
        ),
        (400, r#"{"error":{"code":"content_policy_violation","message":"x"}}"#, "content_policy_violation"),
        (400, r#"{"error":{"code":"content_filter","message":"x"}}"#, "content_filter"),
        (404, r#"{"type":"error","error":{"type":"not_found_error","message":"model: claude-9"}}"#, "model_not_found"),
        (
            404,
            r#"{"error":{"code":404,"status":"NOT_FOUND","message":"models/gemini-9 is not found for API version v1beta"}}"#,
            "model_not_found",
        ),
        (404, r#"{"error":{"type":"not_found_error","message":"file: no such thing"}}"#, "not_found"),
        (500, "", "server_error"),
    ] {
        assert_eq!(understood(status, body).code(), code, "{body}");
    }
}

#[test]
fn a_request_that_never_fits_is_known_by_its_numbers_and_by_nothing_less() {
    let limit = |message: &str| json!({"error": {"message": message, "type": "tokens", "code": "rate_limit_exceeded"}});
    for (status, message, class) in [
        (
            429,
            "Request too large for gpt-4o in organization org-AbCdEf123456 on tokens per min (TPM): Limit 30000, Requested 50000.",
            Class::OverLimit,
        ),
        (
            413,
            "Request too large for model `x` on tokens per minute (TPM): Limit 6000, Requested 7000, please reduce",
            Class::OverLimit,
        ),
        (429, "Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000, Requested 30001.", Class::OverLimit),
        (
            429,
            "Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000, Used 29000, Requested 2000.",
            Class::RateLimited,
        ),
        (
            429,
            "Rate limit reached for gpt-4o on requests per min (RPM): Limit 3, Used 3, Requested 1.",
            Class::RateLimited,
        ),
        (429, "Rate limit reached: Limit many, Requested 9.", Class::RateLimited),
        (429, "the Request too large", Class::RateLimited),
        (429, "Rate limit reached: Limit 1, Requested 99999999999999999999999.", Class::RateLimited),
    ] {
        let error = understood(status, &limit(message).to_string());
        assert_eq!((error.class, error.code()), (class, "rate_limit_exceeded"), "{message}");
        let shown = error.message.unwrap_or_default();
        assert_eq!(shown.is_empty(), class == Class::RateLimited, "{message}");
        assert!(!shown.contains("org-"), "{shown}");
    }
}

#[test]
fn what_a_server_does_not_take_is_no_failure_of_it_though_it_says_500() {
    let error = |message: &str| json!({"error": {"code": 500, "message": message, "type": "server_error"}}).to_string();
    let unfit = understood(500, &error("image input is not supported - hint: you may need to provide the mmproj"));
    assert_eq!((unfit.class, unfit.code()), (Class::Unsupported, "invalid_request"));
    assert!(unfit.message.is_some_and(|message| message.starts_with("image input")));
    assert_eq!(understood(500, &error("no: image input is not supported")).class, Class::Server);
}

#[test]
fn the_words_of_a_provider_are_shown_only_where_the_request_is_at_fault() {
    let error = |kind: &str| format!(r#"{{"error":{{"type":"{kind}","message":"words"}}}}"#);
    assert_eq!(understood(400, &error("invalid_request_error")).message.as_deref(), Some("words"));
    assert_eq!(understood(422, r#"{"detail":[{"msg":"field required"}]}"#).message.as_deref(), Some("field required"));
    for (status, kind) in [(401, "authentication_error"), (429, "rate_limit_error"), (500, "server_error"), (529, "x")]
    {
        assert_eq!(understood(status, &error(kind)).message, None, "{status}");
    }
    assert_eq!(understood(400, "{}").message, None);
}

#[test]
fn keys_addresses_and_accounts_are_taken_out() {
    let shown = |message: &str| understood(400, &json!({"error": {"message": message}}).to_string()).message.unwrap();
    for (message, left) in [
        ("Incorrect key: sk-proj-abc123XYZ.", "Incorrect key: [redacted]"),
        ("key 'sk-a***********bcde' is wrong", "key [redacted] is wrong"),
        ("project (proj_abcdefgh) in org-1234567 failed", "project [redacted] in [redacted] failed"),
        ("call http://10.0.0.5:8000/v1 failed", "call [redacted] failed"),
        ("no api_key=AIzaSyA1234567890 here", "no [redacted] here"),
        ("sent Authorization: Bearer abc as token", "sent Authorization: Bearer [redacted] as token"),
        ("0123456789abcdef0123456789abcdef", "[redacted]"),
        ("max_tokens: 100000 > 8192,\n\tthe maximum\u{7}allowed", "max_tokens: 100000 > 8192, the maximum allowed"),
        ("messages.0.content.1.image_url.url is invalid", "messages.0.content.1.image_url.url is invalid"),
    ] {
        assert_eq!(shown(message), left);
    }
    let long = shown(&"ä ".repeat(10_000));
    assert_eq!(long.chars().count(), 501);
    assert!(long.ends_with('…'));
}

#[test]
fn a_picture_that_openai_cannot_take_is_the_callers_fault() {
    for code in ["invalid_image", "image_too_large", "failed_to_download_image", "unsupported_image_media_type"] {
        let failed = json!({"type": "response.failed", "response": {"error": {"code": code, "message": "no"}}});
        let error = read(Dialect::Responses, StatusCode::OK, failed.to_string().as_bytes());
        assert_eq!((error.class, error.code()), (Class::BadRequest, code));
    }
    let blocked = understood(200, r#"{"error":{"code":"image_content_policy_violation"}}"#);
    assert_eq!((blocked.class, blocked.code()), (Class::ContentFilter, "image_content_policy_violation"));
}

#[test]
fn a_prompt_that_openrouter_moderates_is_no_fault_of_the_key() {
    let flagged = r#"{"error":{"code":403,"message":"Your chosen model requires moderation and your input was flagged","metadata":{"reasons":["violence"],"flagged_input":"..."}}}"#;
    assert_eq!(understood(403, flagged).class, Class::ContentFilter);
    let refused = r#"{"error":{"code":403,"message":"Key disabled","metadata":{"provider_name":"x"}}}"#;
    assert_eq!(understood(403, refused).class, Class::Forbidden);
}

#[test]
fn money_for_a_shorter_answer_is_money() {
    let says = |tokens: u32| {
        format!(
            r#"{{"error":{{"code":402,"message":"This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but can only afford {tokens}. To increase, visit"}}}}"#
        )
    };
    assert_eq!(understood(402, &says(1234)).class, Class::OverLimit);
    assert_eq!(understood(402, &says(0)).class, Class::QuotaExhausted);
}

#[test]
fn a_403_that_is_no_error_of_a_providers_is_none_of_its_key() {
    for body in [
        "<html>Sorry, you have been blocked</html>",
        "",
        "{}",
        "null",
        r#"{"message":"Forbidden"}"#,
        "error code: 1020",
    ] {
        let error = understood(403, body);
        assert_eq!(error.class.status(), StatusCode::BAD_GATEWAY, "{body}: {error:?}");
        assert_eq!(understood(401, body).class, Class::Auth, "{body}");
    }
    for body in [
        r#"{"error":"no"}"#,
        r#"{"error":{"message":"no"}}"#,
        r#"{"errors":[{"message":"no"}]}"#,
        r#"{"status":403,"title":"Forbidden","detail":"Authorization failed"}"#,
        r#"{"code":"no_access","message":"no"}"#,
    ] {
        assert_eq!(understood(403, body).class, Class::Forbidden, "{body}");
    }
}
