package progress

import (
	"bytes"
	"fmt"
	"html"
	"io"
	"math"
	"strconv"
	"time"
)

func itoa(n int) string { return strconv.Itoa(n) }

// The plot's measures, in pixels of its own width.
const (
	plotWidth = 1200
	plotLeft  = 430 // where time begins; to its left stand the instructions
	plotRight = 1120
	rowHeight = 22
	laneHead  = 34
	plotTop   = 118

	readableWidth = 900 // narrower windows scroll
)

// plotStyle has the colours, for light and dark. They come from a palette that
// people who do not tell red from green can tell apart.
const plotStyle = `svg{--bg:#fff;--fg:#1c2733;--dim:#66788a;--grid:#e3e8ee;--band:#f5f7fa;--hit:#3a9d74;--miss:#2f6fde;--none:#a9b6c4;--wait:#c9d7f2;--bad:#d1463b;--net:#c07a12}
@media(prefers-color-scheme:dark){svg{--bg:#12171d;--fg:#e4eaf0;--dim:#8fa0b2;--grid:#27313c;--band:#181f27;--hit:#4fc08d;--miss:#6d9df5;--none:#516070;--wait:#2a3c5e;--bad:#f0746a;--net:#e0a448}}
svg{background:var(--bg);font:13px ui-sans-serif,system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
text{fill:var(--fg)}.d{fill:var(--dim)}.h{font-weight:600}.t{font-size:20px;font-weight:600}.m{font-family:ui-monospace,"DejaVu Sans Mono",monospace;font-size:12px}
.r{text-anchor:end}.c{text-anchor:middle}.g{stroke:var(--grid)}.band{fill:var(--band);fill-opacity:.6}
.hit{fill:var(--hit)}.miss{fill:var(--miss)}.none{fill:var(--none)}.wait{fill:var(--wait)}.bad{fill:var(--bad)}.net{fill:var(--net)}
a:hover text,g.s:hover text{fill:var(--miss)}g.s:hover rect.b{opacity:.75}`

// WriteSVG draws the trace as an SVG image that needs nothing else: one lane for
// each stage, one row for each instruction, its text when the pointer rests on
// it.
func (t *Trace) WriteSVG(w io.Writer) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, err := w.Write(t.svg())
	return err
}

// WriteHTML writes the same as a page.
func (t *Trace) WriteHTML(w io.Writer) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, err := fmt.Fprintf(w, `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>%s</title>
<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<style>html{background:#fff}@media(prefers-color-scheme:dark){html{background:#12171d}}body{margin:0 auto;max-width:%dpx}body{overflow-x:auto}svg{width:100%%;min-width:%dpx;height:auto;display:block}</style>
</head><body>
%s</body></html>
`, html.EscapeString(Clean(t.title)), plotWidth+200, readableWidth, t.svg())
	return err
}

// plot is a drawing in the making.
type plot struct {
	bytes.Buffer
	start time.Time
	total time.Duration
	y     int
}

// x is where a time is drawn.
func (p *plot) x(at time.Time) float64 {
	return plotLeft + float64(at.Sub(p.start))/float64(p.total)*(plotRight-plotLeft)
}

func (p *plot) text(class string, x float64, y int, s string) {
	fmt.Fprintf(p, `<text class="%s" x="%.1f" y="%d">%s</text>`+"\n", class, x, y, html.EscapeString(Clean(s)))
}

func (t *Trace) svg() []byte {
	lanes := t.lanes()
	p := &plot{start: t.start, total: max(t.end.Sub(t.start), time.Millisecond), y: plotTop}
	height := plotTop + 24
	for _, l := range lanes {
		height += laneHead + rowHeight*len(l.spans)
	}
	fmt.Fprintf(p, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">`+"\n<style>%s</style>\n",
		plotWidth, height, plotWidth, height, plotStyle)
	fmt.Fprintf(p, `<rect width="%d" height="%d" style="fill:var(--bg)"/>`+"\n", plotWidth, height)
	t.heading(p)
	p.grid(height)
	for _, l := range lanes {
		p.lane(l)
	}
	p.WriteString("</svg>\n")
	return p.Bytes()
}

// heading is the title, the sums and what the colours mean.
func (t *Trace) heading(p *plot) {
	p.text("t", 24, 38, "virga "+t.title)
	hits, misses := 0, 0
	for _, s := range t.all {
		switch s.Cache {
		case Hit:
			hits++
		case Miss:
			misses++
		}
	}
	sums := fmt.Sprintf("%s elapsed, %s of CPU time, %d from the cache, %d computed, ", Duration(p.total), Duration(time.Duration(t.cpu*float64(time.Second))), hits, misses)
	p.text("d", 24, 60, sums+t.start.Local().Format("2006-01-02 15:04:05"))
	p.WriteString(`<text class="d" y="85">`)
	for i, k := range [][2]string{{"miss", "computed"}, {"hit", "from the cache"}, {"none", "nothing to compute"}, {"wait", "looking, waiting for a processor"}, {"net", "transfer"}, {"bad", "failed"}} {
		at := `dx="22"`
		if i == 0 {
			at = `x="24"`
		}
		fmt.Fprintf(p, `<tspan class="%s" %s>■</tspan><tspan dx="6">%s</tspan>`, k[0], at, k[1])
	}
	p.WriteString("</text>\n")
}

// grid draws the time axis, in steps that are round.
func (p *plot) grid(height int) {
	step := gridStep(p.total)
	for at := time.Duration(0); at <= p.total; at += step {
		x := p.x(p.start.Add(at))
		fmt.Fprintf(p, `<line class="g" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`+"\n", x, x, plotTop-4, height-16)
		p.text("d c", x, plotTop-9, axisLabel(at, step))
	}
}

// gridStep is a round time of which four to nine make the whole.
func gridStep(total time.Duration) time.Duration {
	for unit := time.Millisecond; unit < time.Hour; unit *= 10 {
		for _, n := range []time.Duration{1, 2, 5} {
			if total/(unit*n) < 10 {
				return unit * n
			}
		}
	}
	return time.Duration(math.Ceil(total.Hours()/8)) * time.Hour
}

func axisLabel(at, step time.Duration) string {
	switch {
	case step < 100*time.Millisecond:
		return fmt.Sprintf("%d ms", at.Milliseconds())
	case step < time.Second:
		return fmt.Sprintf("%.1f s", at.Seconds())
	case at < 2*time.Minute:
		return fmt.Sprintf("%d s", int(at.Seconds()))
	}
	return at.String()
}

func (p *plot) lane(l lane) {
	p.y += laneHead
	fmt.Fprintf(p, `<rect class="band" x="12" y="%d" width="%d" height="%d" rx="8"/>`+"\n", p.y-22, plotWidth-24, laneHead-8+rowHeight*len(l.spans))
	p.text("h", 24, p.y-5, l.name)
	for i, s := range l.spans {
		p.row(s, p.y+i*rowHeight)
	}
	p.y += rowHeight * len(l.spans)
}

// row is one step: its line and text, its time as a bar, and the figure.
func (p *plot) row(s *span, y int) {
	class, label, mark := s.Cache, Clean(s.Text), fmt.Sprintf("%d%s", s.Line, flag(s.Cache))
	if class == "" {
		class = "none"
	}
	if s.blob {
		class, label, mark = "net", shortDigest(s.Digest)+"  "+Bytes(max(s.Bytes, s.Size)), ""
	}
	if s.Error != "" {
		class = "bad"
	}
	took := s.ended.Sub(s.begun)
	fmt.Fprintf(p, `<g class="s"><title>%s</title>`+"\n", html.EscapeString(fmt.Sprintf("%s\n%s, begun at %s%s", Clean(label), exact(took), exact(s.begun.Sub(p.start)), errorText(s))))
	fmt.Fprintf(p, `<rect x="12" y="%d" width="%d" height="%d" fill-opacity="0"/>`, y, plotWidth-24, rowHeight)
	p.text("m d r", 58, y+15, mark)
	cut := label
	for cells.StringWidth(cut) > 47 {
		cut = cells.Truncate(cut, 47, "…")
	}
	p.text("m", 66, y+15, cut)
	x0, x1, x2 := p.x(s.begun), p.x(s.started), p.x(s.ended)
	if x1-x0 > 0.5 {
		fmt.Fprintf(p, `<rect class="wait" x="%.1f" y="%d" width="%.1f" height="12" rx="2"/>`, x0, y+5, x1-x0)
	}
	fmt.Fprintf(p, `<rect class="b %s" x="%.1f" y="%d" width="%.1f" height="14" rx="3"/>`+"\n", class, x1, y+4, max(2, x2-x1))
	if class != "none" || took >= time.Millisecond {
		p.text("d m", max(x2, x1+2)+6, y+15, short(took))
	}
	p.WriteString("</g>\n")
}

func errorText(s *span) string {
	if s.Error == "" {
		return ""
	}
	return "\n" + Clean(s.Error)
}

func exact(d time.Duration) string { return fmt.Sprintf("%.3fs", d.Seconds()) }

// short is a time with what matters of it.
func short(d time.Duration) string {
	if d < 100*time.Millisecond {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return Duration(d)
}
