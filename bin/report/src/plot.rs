//! Drawing: a canvas that becomes an SVG, panels with axes on it, and the marks of a series.
//!
//! The SVG is drawn in the colours of a light page. A style sheet inside it replaces them, by attribute selectors, where
//! the reader prefers a dark one; on paper it stays light. So a file shows well by itself, in a README and in the page.

use std::{io, ops::Range};

use plotters::coord::Shift;
use plotters::coord::ranged1d::{
    BoldPoints, KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter,
};
use plotters::coord::types::RangedCoordf64;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// The width of every figure, in units of which a screen shows two in a pixel.
const WIDTH: u32 = 960;

/// The height of a line of text.
pub(crate) const LINE: u32 = 36;

/// The size of text: plotters divides by 1.24.
const TEXT: f64 = 26.0 * 1.24;

/// An estimate of the width of a character.
const CHARACTER: f64 = 13.5;

/// A colour on a light page and the one that replaces it on a dark page.
struct Colour {
    light: RGBColor,
    dark: &'static str,
}

const INK: Colour = Colour { light: RGBColor(0x1F, 0x23, 0x28), dark: "#E6E8EB" };
const PAGE: Colour = Colour { light: RGBColor(0xFF, 0xFF, 0xFF), dark: "#14171B" };
const RULE: Colour = Colour { light: RGBColor(0xD0, 0xD5, 0xDB), dark: "#3B424B" };

/// The colours of series: Okabe & Ito's, which stay apart with every common form of colour blindness, without the two
/// that are too pale for white paper; brighter on a dark page.
const SERIES: [Colour; 6] = [
    Colour { light: RGBColor(0x00, 0x72, 0xB2), dark: "#4FA8DE" },
    Colour { light: RGBColor(0xD5, 0x5E, 0x00), dark: "#F5853F" },
    Colour { light: RGBColor(0x00, 0x9E, 0x73), dark: "#2FC79B" },
    Colour { light: RGBColor(0xCC, 0x79, 0xA7), dark: "#E59CC6" },
    Colour { light: RGBColor(0xB8, 0x7F, 0x00), dark: "#EBB33A" },
    Colour { light: RGBColor(0x5E, 0x60, 0x66), dark: "#B4B8BF" },
];

/// What drawing gives. Drawing into memory fails only if plotters cannot lay out a figure.
pub(crate) type Drawn<T = ()> = Result<T, DrawingAreaErrorKind<io::Error>>;

/// The replacement of the colours on a dark page, for the style sheet of an SVG.
fn dark_style() -> String {
    let rule = |colour: &Colour| {
        let (RGBColor(r, g, b), dark) = (colour.light, colour.dark);
        let light = format!("#{r:02X}{g:02X}{b:02X}");
        format!("[fill=\"{light}\"]{{fill:{dark}}}[stroke=\"{light}\"]{{stroke:{dark}}}")
    };
    let rules: String = [INK, PAGE, RULE].iter().chain(&SERIES).map(rule).collect();
    format!("@media screen and (prefers-color-scheme:dark){{{rules}}}")
}

/// Draws a figure: a legend of the series' names, and panels below one another. The description is for readers who cannot
/// see it.
pub(crate) fn draw(description: &str, legend: &[&str], panels: &[Panel]) -> Drawn<String> {
    let mut svg = String::new();
    let height = legend_height(legend) + panels.iter().map(Panel::total_height).sum::<u32>();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        // Not transparent: a page may be light although its reader prefers dark ones.
        root.fill(&PAGE.light)?;
        let canvas = Canvas { root: &root };
        canvas.legend(legend)?;
        let mut top = legend_height(legend);
        for panel in panels {
            canvas.panel(panel, top)?;
            top += panel.total_height();
        }
        root.present()?;
    }
    // Plotters' own opening tag knows neither a description nor styles.
    let body = svg.split_once('>').map_or("", |(_, body)| body);
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" viewBox=\"0 0 {WIDTH} {height}\" \
         role=\"img\" aria-label=\"{}\">\n<style>{}</style>{body}",
        WIDTH * 3 / 4,
        height * 3 / 4,
        crate::document::escape_html(description),
        dark_style(),
    ))
}

/// The area of a figure. Positions on it are in units from the top left corner.
struct Canvas<'a, 'svg> {
    root: &'a DrawingArea<SVGBackend<'svg>, Shift>,
}

/// One axis of a panel.
#[derive(Clone)]
pub(crate) struct Axis {
    /// From the smallest to the largest value.
    range: Range<f64>,
    ticks: Vec<f64>,
    log: bool,
}

impl Axis {
    /// An axis that shows all of the finite values.
    pub(crate) fn linear(values: impl Iterator<Item = f64>) -> Self {
        let range = padded(values);
        let ticks = RangedCoordf64::from(range.clone()).key_points(BoldPoints(6));
        Self { range, ticks, log: false }
    }

    /// An axis of counts, with ticks at whole numbers only.
    pub(crate) fn counts(values: impl Iterator<Item = f64>) -> Self {
        let mut axis = Self::linear(values);
        axis.ticks.retain(|tick| tick.fract() == 0.0);
        axis
    }

    /// An axis without ticks for rows: its values are units from the top of a panel of this height.
    pub(crate) fn rows(height: u32) -> Self {
        Self { range: f64::from(height)..0.0, ticks: Vec::new(), log: false }
    }

    /// A logarithmic axis that shows all of the positive values. Other values are drawn at its lower end.
    pub(crate) fn log(values: impl Iterator<Item = f64>) -> Self {
        let exponents = padded(values.filter(|value| *value > 0.0).map(f64::log10));
        let decades = exponents.start.floor() as i32..=exponents.end.ceil() as i32;
        let range = 10_f64.powf(exponents.start)..10_f64.powf(exponents.end);
        let ticks_at = |digits: &[f64]| -> Vec<f64> {
            let decade = |decade| digits.iter().map(move |digit| digit * 10_f64.powi(decade));
            decades.clone().flat_map(decade).filter(|tick| range.contains(tick)).collect()
        };
        let ticks = match ticks_at(&[1.0, 2.0, 5.0]) {
            few if few.len() < 3 => RangedCoordf64::from(range.clone()).key_points(BoldPoints(6)),
            many if many.len() > 7 => ticks_at(&[1.0]),
            ticks => ticks,
        };
        Self { range, ticks, log: true }
    }

    /// A logarithmic axis with a tick at each of the positive values.
    pub(crate) fn log_at(values: &[f64]) -> Self {
        Self { ticks: values.to_vec(), ..Self::log(values.iter().copied()) }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        // The logarithm of 0 is infinite, which has no place.
        let scale = |value: f64| match self.log {
            true => value.max(self.range.start).log10(),
            false => value,
        };
        let [start, end, value] = [self.range.start, self.range.end, *value].map(scale);
        from + (f64::from(to - from) * (value - start) / (end - start)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Axis {
    /// With at most four digits, and an exponent if the value is very small or large.
    fn format_ext(&self, value: &f64) -> String {
        let size = value.abs();
        if size == 0.0 || (1e-3..1e6).contains(&size) {
            return ((value * 1e4).round() / 1e4).to_string();
        }
        let exponent = size.log10().floor();
        let digits = (value / 10_f64.powf(exponent) * 1e3).round() / 1e3;
        format!("{digits}e{exponent}")
    }
}

/// The range of the finite values with a margin; never empty.
fn padded(values: impl Iterator<Item = f64>) -> Range<f64> {
    let finite = values.filter(|value| value.is_finite());
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    match high - low {
        width if width > 0.0 => low - 0.04 * width..high + 0.04 * width,
        _ if low.is_finite() => low - 0.05 * low.abs().max(1.0)..low + 0.05 * low.abs().max(1.0),
        _ => 0.0..1.0,
    }
}

/// Axes and what is drawn in them.
pub(crate) struct Panel<'a> {
    /// Above the panel; for a facet, what distinguishes it. May be empty.
    pub(crate) title: String,
    /// Above the y axis. May be empty.
    pub(crate) y_title: String,
    /// Below the x axis, on its right.
    pub(crate) x_title: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    /// The height of the area between the axes.
    pub(crate) height: u32,
    pub(crate) content: Box<dyn Fn(&Pen) -> Drawn + 'a>,
}

impl Panel<'_> {
    /// The height of the lines of text above the axes.
    fn header(&self) -> u32 {
        [&self.title, &self.y_title].iter().map(|text| if text.is_empty() { 0 } else { LINE }).sum()
    }

    /// The height with all texts: below the axes are the labels of the ticks and the title of the x axis.
    fn total_height(&self) -> u32 {
        self.header() + TOP_MARGIN + self.height + 2 * LINE
    }
}

/// The distance between a panel's header and its axes.
const TOP_MARGIN: u32 = 10;

/// The distance of everything from the left edge.
const LEFT: i32 = 12;

impl Canvas<'_, '_> {
    /// Draws a panel.
    fn panel(&self, panel: &Panel, top: u32) -> Drawn {
        let (top, header) = (top as i32, panel.header() as i32);
        let bottom = top + panel.total_height() as i32;
        let half = LINE as i32 / 2;
        self.text(&panel.title, (LEFT, top + half), HPos::Left, true)?;
        self.text(&panel.y_title, (LEFT, top + header - half), HPos::Left, false)?;
        self.text(&panel.x_title, (WIDTH as i32 - 24, bottom - half), HPos::Right, false)?;

        let (_, area) = self.root.split_vertically(top + header);
        let (area, _) = area.split_vertically(TOP_MARGIN + panel.height + LINE);
        let has_ticks = !panel.y.ticks.is_empty();
        let mut chart = ChartBuilder::on(&area)
            .margin_top(TOP_MARGIN)
            .margin_right(24)
            .margin_left(LEFT)
            .x_label_area_size(LINE)
            .y_label_area_size(if has_ticks { 96 } else { 0 })
            .build_cartesian_2d(panel.x.clone(), panel.y.clone())?;
        let mut mesh = chart.configure_mesh();
        mesh.axis_style(INK.light).bold_line_style(RULE.light).light_line_style(TRANSPARENT);
        mesh.label_style(("sans-serif", TEXT).into_font().color(&INK.light));
        if !has_ticks {
            mesh.disable_y_axis();
        }
        mesh.draw()?;
        let place = |point| chart.backend_coord(&point);
        (panel.content)(&Pen { canvas: self, x_range: &panel.x.range, place: &place })
    }

    /// Writes a line of text, vertically centred at the position.
    fn text(&self, text: &str, position: (i32, i32), anchor: HPos, bold: bool) -> Drawn {
        if text.is_empty() {
            return Ok(());
        }
        let style = if bold { FontStyle::Bold } else { FontStyle::Normal };
        let font = ("sans-serif", TEXT, style).into_text_style(self.root);
        let style = font.color(&INK.light).pos(Pos::new(anchor, VPos::Center));
        self.root.draw(&Text::new(text.to_owned(), position, style))
    }

    /// Draws the marker and name of each series, in as many lines as they need.
    fn legend(&self, names: &[&str]) -> Drawn {
        for (series, (column, line)) in legend_positions(names).into_iter().enumerate() {
            let centre = line as i32 + LINE as i32 / 2;
            self.path(&[(column, centre), (column + 44, centre)], series)?;
            self.marker((column + 22, centre), series)?;
            self.text(names[series], (column + 56, centre), HPos::Left, false)?;
        }
        Ok(())
    }

    /// Draws the line of a series: solid for the first colours, dashed when they repeat.
    fn path(&self, points: &[(i32, i32)], series: usize) -> Drawn {
        let style = colour(series).stroke_width(4);
        match series / SERIES.len() {
            0 => self.root.draw(&PathElement::new(points.to_vec(), style)),
            repeat => {
                let dash = 18 / repeat as i32;
                self.root.draw(&DashedPathElement::new(
                    points.iter().copied(),
                    dash.max(4),
                    8,
                    style,
                ))
            }
        }
    }

    /// Draws the marker of a series: circle, triangle, square, diamond or cross. Five shapes and six colours repeat
    /// together only after thirty series.
    fn marker(&self, (x, y): (i32, i32), series: usize) -> Drawn {
        let style = colour(series).filled();
        let polygon = |offsets: &[(i32, i32)]| {
            let corners: Vec<_> = offsets.iter().map(|(dx, dy)| (x + dx, y + dy)).collect();
            self.root.draw(&Polygon::new(corners, style))
        };
        match series % 5 {
            0 => self.root.draw(&Circle::new((x, y), 8, style)),
            1 => polygon(&[(-9, 8), (9, 8), (0, -10)]),
            2 => polygon(&[(-8, -8), (8, -8), (8, 8), (-8, 8)]),
            3 => polygon(&[(-11, 0), (0, -11), (11, 0), (0, 11)]),
            _ => self.cross((x, y), series),
        }
    }

    fn cross(&self, (x, y): (i32, i32), series: usize) -> Drawn {
        let style = colour(series).stroke_width(4);
        self.root.draw(&PathElement::new([(x - 8, y - 8), (x + 8, y + 8)], style))?;
        self.root.draw(&PathElement::new([(x - 8, y + 8), (x + 8, y - 8)], style))
    }
}

/// The height of the legend of these series.
fn legend_height(names: &[&str]) -> u32 {
    legend_positions(names).last().map_or(0, |(_, line)| line + LINE + LINE / 2)
}

/// The left end and the top of each entry of the legend.
fn legend_positions(names: &[&str]) -> Vec<(i32, u32)> {
    let (mut column, mut line) = (LEFT, 0);
    let place = |name: &&str| {
        let width = 56 + (name.chars().count() as f64 * CHARACTER) as i32 + 30;
        if column > LEFT && column + width > WIDTH as i32 {
            (column, line) = (LEFT, line + LINE);
        }
        let position = (column, line);
        column += width;
        position
    };
    names.iter().map(place).collect()
}

/// Draws data into a panel, in the units of its axes.
pub(crate) struct Pen<'a, 'svg> {
    canvas: &'a Canvas<'a, 'svg>,
    x_range: &'a Range<f64>,
    place: &'a dyn Fn((f64, f64)) -> (i32, i32),
}

impl Pen<'_, '_> {
    /// The position on the canvas.
    pub(crate) fn place(&self, point: (f64, f64)) -> (i32, i32) {
        (self.place)(point)
    }

    /// A line through the points, with a marker at some of them: at all if they are few.
    pub(crate) fn line(&self, points: &[(f64, f64)], series: usize) -> Drawn {
        let places: Vec<_> = points.iter().map(|point| self.place(*point)).collect();
        if places.len() > 1 {
            self.canvas.path(&places, series)?;
        }
        let every = places.len().div_ceil(12).max(1);
        // The markers of different series at different places.
        let markers = places.iter().skip(series % every).step_by(every);
        markers.into_iter().try_for_each(|place| self.canvas.marker(*place, series))
    }

    /// A band of (x, from, to), of this opacity.
    pub(crate) fn band(&self, band: &[(f64, f64, f64)], series: usize, opacity: f64) -> Drawn {
        let lower = band.iter().map(|(x, low, _)| self.place((*x, *low)));
        let upper = band.iter().rev().map(|(x, _, high)| self.place((*x, *high)));
        let outline: Vec<_> = lower.chain(upper).collect();
        self.canvas.root.draw(&Polygon::new(outline, colour(series).mix(opacity).filled()))
    }

    /// A dashed vertical line at this x, between two y.
    pub(crate) fn vertical(&self, x: f64, from: f64, to: f64) -> Drawn {
        self.dashed(self.place((x, from)), self.place((x, to)))
    }

    /// A dashed line at this y, with its name on the right above it.
    pub(crate) fn horizontal(&self, y: f64, name: &str) -> Drawn {
        let (from, to) = (self.place((self.x_range.start, y)), self.place((self.x_range.end, y)));
        self.dashed(from, to)?;
        self.canvas.text(name, (to.0 - 8, to.1 - LINE as i32 / 2), HPos::Right, false)
    }

    /// Text next to a point, on the side that has room for it.
    pub(crate) fn label(&self, text: &str, point: (f64, f64)) -> Drawn {
        let (x, y) = self.place(point);
        let end = x + 8 + (text.chars().count() as f64 * CHARACTER) as i32;
        let (x, side) = if end < WIDTH as i32 { (x + 8, HPos::Left) } else { (x - 8, HPos::Right) };
        self.canvas.text(text, (x, y), side, false)
    }

    /// Text at the left end of a row.
    pub(crate) fn row_name(&self, text: &str, y: f64) -> Drawn {
        let (_, y) = self.place((self.x_range.start, y));
        self.canvas.text(text, (LEFT, y), HPos::Left, false)
    }

    fn dashed(&self, from: (i32, i32), to: (i32, i32)) -> Drawn {
        let style = INK.light.stroke_width(2);
        self.canvas.root.draw(&DashedPathElement::new([from, to], 10, 8, style))
    }

    /// A box with its median and whiskers in a row: the values are [minimum, quartile, median, quartile, maximum].
    pub(crate) fn horizontal_box(&self, values: [f64; 5], row: f64, series: usize) -> Drawn {
        let [minimum, lower, median, upper, maximum] =
            values.map(|value| self.place((value, row)).0);
        let (_, y) = self.place((values[0], row));
        let (top, bottom) = (y - 24, y + 24);
        let root = self.canvas.root;
        root.draw(&Rectangle::new(
            [(lower, top), (upper, bottom)],
            colour(series).mix(0.16).filled(),
        ))?;
        let line = |points: &[(i32, i32)], width| {
            root.draw(&PathElement::new(points.to_vec(), colour(series).stroke_width(width)))
        };
        line(&[(lower, top), (upper, top), (upper, bottom), (lower, bottom), (lower, top)], 3)?;
        line(&[(minimum, y), (lower, y)], 3)?;
        line(&[(upper, y), (maximum, y)], 3)?;
        line(&[(median, top), (median, bottom)], 7)
    }

    /// A dot at a place on the canvas: filled, or a ring.
    pub(crate) fn dot(&self, place: (i32, i32), series: usize, filled: bool) -> Drawn {
        let style = colour(series);
        let style = if filled { style.filled() } else { style.stroke_width(3) };
        self.canvas.root.draw(&Circle::new(place, 8, style))
    }

    /// A cross at a place on the canvas.
    pub(crate) fn cross(&self, place: (i32, i32), series: usize) -> Drawn {
        self.canvas.cross(place, series)
    }
}

fn colour(series: usize) -> RGBColor {
    SERIES[series % SERIES.len()].light
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel<'a>(x: Axis, y: Axis, content: impl Fn(&Pen) -> Drawn + 'a) -> Panel<'a> {
        let (title, x_title, y_title) = ("a".into(), "b".into(), "c".into());
        Panel { title, x_title, y_title, x, y, height: 100, content: Box::new(content) }
    }

    #[test]
    fn every_colour_has_one_for_dark_pages() {
        let unit = || Axis::linear([0.0, 1.0].into_iter());
        let names: Vec<String> = (0..14).map(|series| format!("series {series}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let content = |pen: &Pen| {
            pen.horizontal(0.5, "half")?;
            pen.vertical(0.5, 0.0, 1.0)?;
            (0..14).try_for_each(|series| {
                pen.line(&[(0.0, 0.0), (1.0, 1.0)], series)?;
                pen.band(&[(0.0, 0.0, 0.1), (1.0, 0.5, 1.0)], series, 0.1)?;
                pen.horizontal_box([0.0, 0.2, 0.3, 0.4, 1.0], 0.5, series)
            })
        };
        let svg = draw("14 < 15", &names, &[panel(unit(), unit(), content)]).unwrap();
        let (style, body) = svg.split_once("</style>").unwrap();
        let colours: Vec<&str> = body.split("=\"#").skip(1).map(|rest| &rest[..6]).collect();
        assert!(colours.len() > 50);
        for colour in colours {
            assert!(style.contains(&format!("[fill=\"#{colour}\"]")), "#{colour} has none");
        }
        assert!(svg.contains("aria-label=\"14 &lt; 15\""));
        assert!(body.contains("series 13"), "the legend names all");
    }

    #[test]
    fn axes_show_all_finite_values_with_readable_ticks() {
        let labels = |axis: &Axis| -> Vec<String> {
            let ticks = axis.key_points(BoldPoints(10));
            ticks.iter().map(|tick| axis.format_ext(tick)).collect()
        };
        let linear = Axis::linear([0.5, f64::NAN, 0.7].into_iter());
        assert_eq!(labels(&linear), ["0.5", "0.55", "0.6", "0.65", "0.7"]);
        assert_eq!([linear.map(&0.492, (0, 100)), linear.map(&0.708, (0, 100))], [0, 100]);
        assert_eq!(labels(&Axis::counts([1.0, 3.0].into_iter())), ["1", "2", "3"]);
        let log = Axis::log([0.0, 0.02, 3.0].into_iter());
        assert_eq!(labels(&log), ["0.02", "0.05", "0.1", "0.2", "0.5", "1", "2"]);
        assert_eq!([log.map(&0.0, (100, 0)), log.map(&3.0, (100, 0))], [100, 4], "0 is at the end");
        assert_eq!(labels(&Axis::log([1e-5, 1e3].into_iter())).len(), 9);
        assert!(labels(&Axis::log([3.0, 4.0].into_iter())).len() > 2, "within a decade");
        assert_eq!(labels(&Axis::log_at(&[2e-5, 0.0003, 0.01])), ["2e-5", "3e-4", "0.01"]);
        // A single value is in the middle; nothing at all is no error.
        assert_eq!(Axis::linear([0.5].into_iter()).map(&0.5, (0, 100)), 50);
        assert!(!labels(&Axis::linear([].into_iter())).is_empty());
    }
}
