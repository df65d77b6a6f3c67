//! What was asked, read from any dialect: as much as the rules of the answers need.

use serde_json::{Value, json};

use super::error::Trouble;

/// A tool that may be called.
#[derive(Clone, Debug, Default)]
pub(super) struct Tool {
    pub(super) name: String,
    /// The JSON schema of its arguments.
    pub(super) schema: Value,
}

/// Which tools must be called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Choice {
    #[default]
    Auto,
    None,
    Any,
    Named(String),
}

/// One question.
#[derive(Clone, Debug, Default)]
pub(super) struct Question {
    /// Characters of all texts: system, turns, tool results.
    pub(super) chars: usize,
    pub(super) images: usize,
    /// Tool results since the last turn of the assistant.
    pub(super) results: usize,
    /// The text of the last turn of the user.
    pub(super) text: String,
    pub(super) tools: Vec<Tool>,
    pub(super) choice: Choice,
    /// The longest output, in tokens.
    pub(super) most: Option<u64>,
    pub(super) stop: Vec<String>,
    /// Whether thinking is asked for, and whether it is shown.
    pub(super) thinks: bool,
    /// The schema that the text must have; `{}` for any JSON object.
    pub(super) schema: Option<Value>,
    /// How many answers.
    pub(super) choices: u64,
}

impl Question {
    pub(super) fn new() -> Self {
        Self { choices: 1, ..Self::default() }
    }

    /// Counts a text of a turn, and keeps it if it is of the turn that is answered.
    pub(super) fn hear(&mut self, role: Role, text: &str) {
        self.chars += text.chars().count();
        if role == Role::User {
            if !self.text.is_empty() {
                self.text.push(' ');
            }
            self.text.push_str(text);
        }
    }

    /// A turn begins: what the user said before counts no more for what is done.
    pub(super) fn turn(&mut self, role: Role) {
        match role {
            Role::Assistant => {
                self.results = 0;
                self.text.clear();
            }
            Role::User => self.text.clear(),
            Role::System | Role::Tool => {}
        }
    }

    /// Tokens of the prompt: a quarter of the characters, and a hundred for each image.
    pub(super) fn tokens(&self) -> u64 {
        tokens(self.chars).max(1) + 100 * self.images as u64
    }
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    System,
    User,
    Assistant,
    Tool,
}

/// Four characters are a token.
pub(super) fn tokens(chars: usize) -> u64 {
    chars.div_ceil(4) as u64
}

/// Fields that a provider does not know.
pub(super) fn unknown<'a>(asked: &'a Value, known: &[&str]) -> Option<&'a str> {
    asked.as_object()?.keys().map(String::as_str).find(|name| !known.contains(name))
}

/// Texts of a field that is one or a list.
pub(super) fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(list) => list.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

/// A list that must be there and not be empty.
pub(super) fn list<'a>(asked: &'a Value, name: &str) -> Result<&'a [Value], Trouble> {
    let found = asked[name].as_array().ok_or_else(|| Trouble::missing(name))?;
    match found.is_empty() {
        true => Err(Trouble::about(
            name,
            format!("Invalid '{name}': empty array. Expected an array with minimum length 1."),
        )),
        false => Ok(found),
    }
}

/// The deepest that a schema is followed.
const MAX_DEPTH: usize = 8;

/// A value that the schema allows: every property given, texts `mock N`, numbers `N`.
pub(super) fn sample(schema: &Value, number: u64) -> Value {
    sampled(schema, schema, number, MAX_DEPTH)
}

fn sampled(schema: &Value, root: &Value, number: u64, depth: usize) -> Value {
    let Some(depth) = depth.checked_sub(1) else {
        return Value::Null;
    };
    if let Some(path) = schema["$ref"].as_str().and_then(|path| path.strip_prefix('#')) {
        return sampled(root.pointer(path).unwrap_or(&Value::Null), root, number, depth);
    }
    if let Some(fixed) = schema.get("const").or_else(|| schema["enum"].as_array()?.first()) {
        return fixed.clone();
    }
    let branches = ["anyOf", "oneOf", "allOf"].iter().find_map(|name| schema[*name].as_array());
    if let Some(branch) = branches.and_then(|list| list.iter().find(|one| one["type"] != "null")) {
        return sampled(branch, root, number, depth);
    }
    match kind(schema).as_str() {
        "string" => Value::from(format!("mock {number}")),
        "integer" => schema["minimum"].as_i64().map_or_else(|| Value::from(number), Value::from),
        "number" => schema["minimum"].as_f64().map_or_else(|| json!(number as f64 + 0.5), Value::from),
        "boolean" => Value::Bool(true),
        "array" => match schema.get("items") {
            Some(items) => json!([sampled(items, root, number, depth)]),
            None => json!([]),
        },
        "null" => Value::Null,
        _ => {
            let properties = schema["properties"].as_object().into_iter().flatten();
            properties.map(|(name, value)| (name.clone(), sampled(value, root, number, depth))).collect()
        }
    }
}

/// The type of a schema in lower case; of several the first that is not null.
fn kind(schema: &Value) -> String {
    let kinds = texts(&schema["type"]);
    let kind = kinds.iter().find(|kind| *kind != "null").map_or("object", String::as_str);
    kind.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_fit_their_schemas() {
        let schema = json!({
            "type": "object",
            "properties": {
                "city": {"type": "string"}, "days": {"type": ["integer", "null"]}, "unit": {"enum": ["C", "F"]},
                "where": {"$ref": "#/$defs/Place"}, "tags": {"type": "array", "items": {"type": "STRING"}},
                "maybe": {"anyOf": [{"type": "null"}, {"type": "number"}]},
            },
            "$defs": {"Place": {"type": "object", "properties": {"lat": {"type": "number"}}}},
        });
        let expected = json!({
            "city": "mock 2", "days": 2, "unit": "C", "where": {"lat": 2.5}, "tags": ["mock 2"], "maybe": 2.5,
        });
        assert_eq!(sample(&schema, 2), expected);
        let endless = json!({"$ref": "#"});
        assert_eq!(sample(&endless, 1), Value::Null);
    }

    #[test]
    fn only_the_turn_that_is_answered_orders() {
        let mut question = Question::new();
        for (role, text) in [(Role::User, "call a"), (Role::Assistant, "no"), (Role::User, "and"), (Role::User, "now")]
        {
            question.turn(role);
            question.hear(role, text);
        }
        assert_eq!((question.text.as_str(), question.chars, question.tokens()), ("now", 14, 4));
    }
}
