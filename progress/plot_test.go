package progress

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// The drawing is well-formed whatever instructions say, has a row for each, and
// nothing lies outside of it.
func TestPlot(t *testing.T) {
	tr := NewTrace()
	events(Sinks{tr})
	tr.Event(Event{Kind: StepBegin, ID: 9, Stage: 1, Line: 9, Time: time.Date(2026, 1, 2, 3, 4, 14, 0, time.UTC), Text: `RUN <script>alert("x")</script> & ` + strings.Repeat("漢", 60)})
	var b bytes.Buffer
	if err := tr.WriteSVG(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "<script") || strings.Contains(b.String(), "\x1b") {
		t.Error("text of an instruction is markup")
	}
	rows, dec := 0, xml.NewDecoder(&b)
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := tok.(xml.StartElement); ok && e.Name.Local == "title" {
			rows++
		}
	}
	if rows != 4 {
		t.Errorf("%d rows, want 4", rows)
	}
	b.Reset()
	if err := tr.WriteHTML(&b); err != nil || !strings.HasPrefix(b.String(), "<!DOCTYPE html>") {
		t.Error(err, b.String()[:40])
	}
}

func TestGridStep(t *testing.T) {
	for total := time.Millisecond; total < 100*time.Hour; total = total*7/5 + 1 {
		if n := total / gridStep(total); n > 10 {
			t.Errorf("%v: %d lines", total, n)
		}
	}
}
