//! A document of headings, paragraphs, lists, tables and figures, and its two forms: Markdown and one HTML page.

/// A drawn figure.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    /// The name of its file, without `.svg`.
    pub(crate) name: &'static str,
    pub(crate) title: String,
    /// How to read it.
    pub(crate) caption: String,
    pub(crate) svg: String,
}

impl Figure {
    /// Its path, relative to the report.
    pub(crate) fn path(&self) -> String {
        format!("figures/{}.svg", self.name)
    }
}

/// A table.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) header: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
    /// The number of leading columns that hold text; the others hold numbers, which are aligned on the right.
    pub(crate) text_columns: usize,
    /// Whether text is broken into lines, because it is long.
    pub(crate) wrapped: bool,
}

/// A part of a document. All texts are plain: whatever has a meaning in Markdown or HTML is escaped.
#[derive(Clone, Debug)]
pub(crate) enum Block {
    Heading(String),
    Paragraph(String),
    List(Vec<String>),
    Table(Table),
    Figure(Figure),
}

/// A title and what follows it.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) title: String,
    pub(crate) blocks: Vec<Block>,
}

impl Document {
    /// GitHub-flavoured Markdown. Figures are links to their files.
    pub(crate) fn markdown(&self) -> String {
        let block = |block: &Block| match block {
            Block::Heading(text) => format!("## {}", escape_markdown(text)),
            Block::Paragraph(text) => escape_markdown(text),
            Block::List(items) => {
                let items: Vec<_> =
                    items.iter().map(|item| format!("- {}", escape_markdown(item))).collect();
                items.join("\n")
            }
            Block::Table(table) => markdown_table(table),
            Block::Figure(figure) => format!(
                "![{}]({})\n\n{}",
                escape_markdown(&figure.title),
                figure.path(),
                escape_markdown(&figure.caption)
            ),
        };
        let blocks: Vec<String> = self.blocks.iter().map(block).collect();
        format!("# {}\n\n{}\n", escape_markdown(&self.title), blocks.join("\n\n"))
    }

    /// A self-contained page: styles and figures are in it, and it has no script.
    pub(crate) fn html(&self) -> String {
        let block = |block: &Block| match block {
            Block::Heading(text) => format!("<h2>{}</h2>\n", escape_html(text)),
            Block::Paragraph(text) => format!("<p>{}</p>\n", escape_html(text)),
            Block::List(items) => {
                let items: String =
                    items.iter().map(|item| format!("<li>{}</li>\n", escape_html(item))).collect();
                format!("<ul>\n{items}</ul>\n")
            }
            Block::Table(table) => html_table(table),
            Block::Figure(figure) => format!(
                "<figure>\n<h3>{}</h3>\n{}<figcaption>{}</figcaption>\n</figure>\n",
                escape_html(&figure.title),
                figure.svg,
                escape_html(&figure.caption)
            ),
        };
        let blocks: String = self.blocks.iter().map(block).collect();
        let (title, style) = (escape_html(&self.title), include_str!("page.css"));
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>{title}</title>\n<style>\n{style}</style>\n</head>\n\
             <body>\n<main>\n<h1>{title}</h1>\n{blocks}</main>\n</body>\n</html>\n"
        )
    }
}

fn markdown_table(table: &Table) -> String {
    let line = |cells: &[String]| format!("| {} |", cells.join(" | "));
    let escaped = |cells: &[String]| -> Vec<String> {
        cells.iter().map(|cell| escape_markdown(cell)).collect()
    };
    let alignment = |column| if column < table.text_columns { "---" } else { "---:" }.to_owned();
    let mut lines = vec![line(&escaped(&table.header))];
    lines.push(line(&(0..table.header.len()).map(alignment).collect::<Vec<_>>()));
    lines.extend(table.rows.iter().map(|row| line(&escaped(row))));
    lines.join("\n")
}

fn html_table(table: &Table) -> String {
    let row = |tag: &str, cells: &[String]| {
        let cell = |(column, cell): (usize, &String)| {
            let class = if column < table.text_columns { " class=\"text\"" } else { "" };
            format!("<{tag}{class}>{}</{tag}>", escape_html(cell))
        };
        format!("<tr>{}</tr>\n", cells.iter().enumerate().map(cell).collect::<String>())
    };
    let rows: String = table.rows.iter().map(|cells| row("td", cells)).collect();
    let class = if table.wrapped { " class=\"wrapped\"" } else { "" };
    // A table wider than the screen scrolls, and the page does not.
    format!(
        "<div class=\"table\" tabindex=\"0\">\n<table{class}>\n<thead>\n{}</thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n",
        row("th", &table.header)
    )
}

/// The text with everything escaped that HTML gives a meaning.
pub(crate) fn escape_html(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;")
}

/// The text with everything escaped that Markdown gives a meaning within a line.
fn escape_markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if "\\`*_[]<>|#&~$".contains(character) {
            escaped.push('\\');
        }
        escaped.push(if character == '\n' { ' ' } else { character });
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Document {
        let table = Table {
            header: vec!["arm".into(), "mean".into()],
            rows: vec![vec!["a|b<c>_d".into(), "0.5".into()]],
            text_columns: 1,
            wrapped: false,
        };
        let figure = Figure {
            name: "one",
            title: "One & only".into(),
            caption: "Look.".into(),
            svg: "<svg></svg>\n".into(),
        };
        let blocks = vec![
            Block::Heading("Arms".into()),
            Block::Paragraph("1 < 2".into()),
            Block::List(vec!["*".into(), "two".into()]),
            Block::Table(table),
            Block::Figure(figure),
        ];
        Document { title: "A \"study\"".into(), blocks }
    }

    #[test]
    fn markdown_keeps_plain_text_plain() {
        let expected = "# A \"study\"\n\n## Arms\n\n1 \\< 2\n\n- \\*\n- two\n\n| arm | mean |\n| --- | ---: |\n\
                        | a\\|b\\<c\\>\\_d | 0.5 |\n\n![One \\& only](figures/one.svg)\n\nLook.\n";
        assert_eq!(document().markdown(), expected);
    }

    #[test]
    fn html_keeps_plain_text_plain() {
        let page = document().html();
        for part in [
            "<title>A &quot;study&quot;</title>",
            "<p>1 &lt; 2</p>",
            "<li>*</li>",
            "<td class=\"text\">a|b&lt;c&gt;_d</td><td>0.5</td>",
            "<h3>One &amp; only</h3>\n<svg></svg>\n<figcaption>Look.</figcaption>",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
    }
}
