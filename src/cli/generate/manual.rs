//! The man pages: `sluicegate(8)` from the commands themselves and from `docs/reference.md`, `sluicegate.yaml(5)` from the
//! language of the configuration.

use clap::{Arg, Command};

use super::roff::Page;
use crate::config::language;

const REFERENCE: &str = include_str!("../../../docs/reference.md");

/// Sections of the reference that belong to the program, with their titles in the page.
const OF_REFERENCE: [(&str, &str); 3] =
    [("Exit codes", "EXIT STATUS"), ("Signals", "SIGNALS"), ("Environment", "ENVIRONMENT")];

const FILES: [(&str, &str); 7] = [
    ("/etc/sluicegate/sluicegate.yaml", "The configuration, see sluicegate.yaml(5)."),
    ("/etc/default/sluicegate", "The environment of the service."),
    ("/var/lib/sluicegate", "What is used of tokens and money."),
    ("/var/log/sluicegate", "Log files, where the configuration names them."),
    ("/usr/share/sluicegate/sluicegate.schema.json", "The JSON Schema of the configuration, for editors."),
    ("/usr/share/sluicegate/systemd", "Drop-ins for the unit: limits, credentials, sockets."),
    ("/usr/share/doc/sluicegate", "The reference of log fields, metrics, headers and endpoints, and examples."),
];

/// `sluicegate(8)`.
pub(super) fn program(program: &Command) -> String {
    let mut page = Page::new("sluicegate", 8, "System Administration");
    let about = program.get_about().map(ToString::to_string).unwrap_or_default();
    page.section("NAME");
    page.paragraph(&format!("sluicegate - {}", lowered(&about)));
    page.section("SYNOPSIS");
    let shown: Vec<&Command> = program.get_subcommands().filter(|command| command.get_name() != "help").collect();
    let lines: Vec<String> = leaves(&shown, "sluicegate").iter().map(|(path, command)| usage(path, command)).collect();
    page.verbatim(&lines.join("\n"));
    page.section("DESCRIPTION");
    page.paragraph(
        "Sluicegate stands in front of several HTTP backends, behind one port, and in front of providers of language models. It is \
         one program with one file, which sluicegate.yaml(5) describes.",
    );
    page.section("COMMANDS");
    for (path, command) in leaves(&shown, "sluicegate") {
        page.subsection(&usage(&path, command));
        page.paragraph(&about_of(command));
        for argument in command.get_arguments().filter(|argument| !ours_of_clap(argument)) {
            page.item(&name_of(argument), &help_of(argument));
        }
    }
    for (heading, title) in OF_REFERENCE {
        page.section(title);
        page.markdown(of_reference(heading));
    }
    page.section("FILES");
    FILES.iter().for_each(|(file, text)| page.item(file, text));
    page.section("SEE ALSO");
    page.paragraph("sluicegate.yaml(5), systemctl(1), journalctl(1)");
    page.done()
}

/// `sluicegate.yaml(5)`.
pub(super) fn configuration() -> String {
    let mut page = Page::new("sluicegate.yaml", 5, "File Formats");
    page.section("NAME");
    page.paragraph("sluicegate.yaml - configuration of sluicegate(8)");
    page.section("DESCRIPTION");
    language::intro().iter().for_each(|paragraph| page.paragraph(paragraph));
    page.paragraph(
        "Below, NAME stands for names of your choice, and the members of a list have the path of their list. Behind a key stands its \
         value in the file that is installed: the default, or an example, as the words say.",
    );
    for section in language::sections() {
        page.section(section.name);
        page.paragraph(&section.words);
        for key in section.keys {
            let term = key
                .shown
                .as_ref()
                .map_or_else(|| key.path.clone(), |shown| format!("{}: {}", key.path, one_line(shown)));
            // What the words say already need not be said before them.
            let form = if key.words.contains(&key.form) { String::new() } else { sentence(&key.form) };
            let words = if key.words == section.words { String::new() } else { sentence(&key.words) };
            page.item(&term, format!("{form} {words}").trim());
        }
    }
    page.section("FILES");
    page.item("/usr/share/sluicegate/sluicegate.schema.json", "The same as a JSON Schema, for editors. As the first line of a file, `# yaml-language-server: $schema=/usr/share/sluicegate/sluicegate.schema.json` names it to them.");
    page.item("/usr/share/sluicegate/api-keys.schema.json", "That of key files.");
    page.item("/usr/share/doc/sluicegate/examples", "Examples.");
    page.section("SEE ALSO");
    page.paragraph("sluicegate(8)");
    page.done()
}

/// The commands that do something, with their paths.
fn leaves<'a>(commands: &[&'a Command], above: &str) -> Vec<(String, &'a Command)> {
    let mut found = Vec::new();
    for command in commands {
        let path = format!("{above} {}", command.get_name());
        let below: Vec<&Command> = command.get_subcommands().filter(|command| command.get_name() != "help").collect();
        if below.is_empty() {
            found.push((path, *command));
        } else {
            found.extend(leaves(&below, &path));
        }
    }
    found
}

fn usage(path: &str, command: &Command) -> String {
    let shown = command.get_arguments().filter(|argument| !ours_of_clap(argument));
    let parts = shown.map(|argument| {
        let name = name_of(argument);
        if argument.is_required_set() { name } else { format!("[{name}]") }
    });
    std::iter::once(path.to_owned()).chain(parts).collect::<Vec<_>>().join(" ")
}

/// `-c, --config FILE`, `POOL`.
fn name_of(argument: &Arg) -> String {
    let values = argument.get_value_names().unwrap_or_default().join(" ");
    let takes = argument.get_action().takes_values();
    let optional = argument.get_num_args().is_some_and(|range| range.min_values() == 0);
    let value = if optional { format!("[{values}]") } else { values };
    let flags = match (argument.get_short(), argument.get_long()) {
        (Some(short), Some(long)) => format!("-{short}, --{long}"),
        (Some(short), None) => format!("-{short}"),
        (None, Some(long)) => format!("--{long}"),
        (None, None) => return value,
    };
    if takes { format!("{flags} {value}") } else { flags }
}

fn help_of(argument: &Arg) -> String {
    let mut text = sentence(&argument.get_help().map(ToString::to_string).unwrap_or_default());
    let defaults: Vec<_> = argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if !defaults.is_empty() && argument.get_action().takes_values() {
        text = format!("{text} Default: `{}`.", defaults.join(" "));
    }
    if let Some(variable) = argument.get_env() {
        text = format!("{text} Also the variable `{}`.", variable.to_string_lossy());
    }
    text
}

/// What clap adds everywhere.
fn ours_of_clap(argument: &Arg) -> bool {
    argument.is_hide_set() || ["help", "version"].contains(&argument.get_id().as_str())
}

fn about_of(command: &Command) -> String {
    let text = command.get_long_about().or_else(|| command.get_about());
    sentence(&text.map(ToString::to_string).unwrap_or_default())
}

/// The section of the reference under a heading.
fn of_reference(heading: &str) -> &'static str {
    let Some((_, after)) = REFERENCE.split_once(&format!("\n## {heading}\n")) else { return "" };
    after.split_once("\n## ").map_or(after, |(section, _)| section)
}

/// Words that begin and end like a sentence.
fn sentence(text: &str) -> String {
    let text = text.trim();
    let Some(first) = text.chars().next() else { return String::new() };
    // A word of the language keeps its case.
    let word = text.split_whitespace().next().unwrap_or_default();
    let plain = word.trim_end_matches(['.', ',', ':', ';']).chars().all(|c| c.is_ascii_lowercase());
    let head = if plain { first.to_ascii_uppercase() } else { first };
    let end = if text.ends_with(['.', ':', '?', '!']) { "" } else { "." };
    format!("{head}{}{end}", text.get(first.len_utf8()..).unwrap_or_default())
}

fn lowered(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| format!("{}{}", first.to_lowercase(), chars.as_str()))
}

/// A value on one line, and no longer than that.
fn one_line(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.chars().count() > 60 { format!("{}...", text.chars().take(57).collect::<String>()) } else { text }
}
