package main

import (
	"testing"
	"time"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "10": 10, "1k": 1024, "1kB": 1000, "1.5GB": 1500000000, "2GiB": 2 << 30, "3g": 3 << 30, "1 MB": 1000000, "7b": 7,
	} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("%q is %d, %v; want %d", text, got, err, want)
		}
	}
	for _, bad := range []string{"", "k", "-1", "1x", "1e400", "NaN", "Inf", "99999999999PB", "1kBB"} {
		if n, err := parseSize(bad); err == nil {
			t.Errorf("%q was taken as %d", bad, n)
		}
	}
}

func TestParseSince(t *testing.T) {
	now := time.Date(2024, 5, 6, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"24h": now.Add(-24 * time.Hour), "1h30m": now.Add(-90 * time.Minute), "7d": now.AddDate(0, 0, -7),
		"2024-01-02": time.Date(2024, 1, 2, 0, 0, 0, 0, time.UTC), "2024-01-02T03:04:05": time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC),
		"2024-01-02T03:04:05Z": time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC), "1000000000": time.Unix(1000000000, 0),
	} {
		if got, err := parseSince(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q is %v, %v; want %v", text, got, err, want)
		}
	}
	for _, bad := range []string{"", "soon", "-3h", "-5", "d", "1.5d", "2024-13-01"} {
		if got, err := parseSince(bad, now); err == nil {
			t.Errorf("%q was taken as %v", bad, got)
		}
	}
}

func TestHumanAge(t *testing.T) {
	const day = 24 * time.Hour
	for d, want := range map[time.Duration]string{
		0: "Less than a second ago", time.Second: "1 second ago", 59 * time.Second: "59 seconds ago", time.Hour: "1 hour ago", 47 * time.Hour: "47 hours ago",
		3 * day: "3 days ago", 15 * day: "2 weeks ago", 90 * day: "3 months ago", 800 * day: "2 years ago",
	} {
		if got := humanAge(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}

func TestDotQuote(t *testing.T) {
	if got, want := dotQuote("a \"b\"\\n\nc\x1b"), `"a \"b\"\\n\nc?"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
