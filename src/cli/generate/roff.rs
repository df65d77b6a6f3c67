//! Text for man(7).

/// A page that grows.
#[derive(Debug)]
pub(super) struct Page(String);

impl Page {
    /// Begins a page: `sluicegate`, 8, and what the manual is called.
    pub(super) fn new(name: &str, section: u8, manual: &str) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        Self(format!(
            ".\\\" Made by `sluicegate generate`.\n.ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n.TH {} {section} \"\" \"Sluicegate {version}\" \"{manual}\"\n.nh\n.ad l\n",
            name.to_uppercase()
        ))
    }

    pub(super) fn section(&mut self, title: &str) {
        self.line(&format!(".SH \"{}\"", escaped(title)));
    }

    pub(super) fn subsection(&mut self, title: &str) {
        self.line(&format!(".SS \"{}\"", escaped(title)));
    }

    /// A paragraph, with the code of Markdown in it.
    pub(super) fn paragraph(&mut self, text: &str) {
        if !text.is_empty() {
            self.line(".PP");
            self.line(&inline(text));
        }
    }

    /// A term and what is said of it.
    pub(super) fn item(&mut self, term: &str, text: &str) {
        self.line(".TP");
        self.line(&format!("\\fB{}\\fR", escaped(term)));
        self.line(&inline(text));
    }

    /// Lines as they are.
    pub(super) fn verbatim(&mut self, text: &str) {
        self.line(".PP\n.nf\n.RS 4");
        text.lines().for_each(|text| self.line(&guarded(&escaped(text))));
        self.line(".RE\n.fi");
    }

    /// Sections of a Markdown file, tables as lists of terms.
    pub(super) fn markdown(&mut self, text: &str) {
        let mut paragraph = String::new();
        let mut head: Option<Vec<&str>> = None;
        for line in text.lines().chain([""]) {
            let cells = line.strip_prefix('|').and_then(|line| line.strip_suffix('|'));
            if cells.is_none() && !line.is_empty() {
                if !paragraph.is_empty() {
                    paragraph.push(' ');
                }
                paragraph.push_str(line);
                continue;
            }
            self.paragraph(&std::mem::take(&mut paragraph));
            let Some(cells) = cells else {
                head = None;
                continue;
            };
            let cells: Vec<&str> = cells.split('|').map(str::trim).collect();
            match &head {
                None => head = Some(cells),
                Some(_) if cells.iter().all(|cell| cell.trim_matches(['-', ':']).is_empty()) => {}
                Some(head) => self.row(head, &cells),
            }
        }
    }

    /// The row of a table: its first cell, and the others, named where there are several.
    fn row(&mut self, head: &[&str], cells: &[&str]) {
        let Some((term, rest)) = cells.split_first() else { return };
        let named = head.iter().skip(1).zip(rest).filter(|(_, cell)| !cell.is_empty());
        let text: Vec<String> = named
            .map(|(name, cell)| if rest.len() == 1 { (*cell).to_owned() } else { format!("{name}: {cell}") })
            .collect();
        self.item(&term.replace('`', ""), &text.join("; "));
    }

    pub(super) fn done(self) -> String {
        self.0
    }

    fn line(&mut self, text: &str) {
        self.0.push_str(text);
        self.0.push('\n');
    }
}

/// A text without what roff would read as its own.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\*(Aq").replace('"', "\\(dq")
}

/// A line that does not begin like a request.
fn guarded(text: &str) -> String {
    if text.starts_with('.') || text.starts_with('\'') { format!("\\&{text}") } else { text.to_owned() }
}

/// Words with the code of Markdown in bold; of a link its words.
fn inline(text: &str) -> String {
    let mut out = String::new();
    for (index, part) in text.split('`').enumerate() {
        if index % 2 == 1 {
            out.push_str("\\fB");
            out.push_str(&escaped(part));
            out.push_str("\\fR");
        } else {
            out.push_str(&escaped(&without_links(part)));
        }
    }
    guarded(out.trim())
}

fn without_links(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("](") {
        let Some((_, behind)) = after.split_once(')') else { break };
        let (head, words) = before.rsplit_once('[').unwrap_or((before, ""));
        out.push_str(head);
        out.push_str(words);
        rest = behind;
    }
    out + rest
}
