package main

import (
	"errors"
	"strings"
	"testing"

	"virga/unpriv"
)

func TestLacking(t *testing.T) {
	broken := errors.New("not\npermitted")
	for _, tc := range []struct {
		name string
		f    unpriv.Features
		want []string // beginnings of the lines
	}{
		{"no user namespaces hide the rest", unpriv.Features{UserNS: broken, Overlay: broken, PIDNS: broken},
			[]string{"user namespaces: not permitted; needed to build"}},
		{"old kernel", unpriv.Features{Overlay: broken}, []string{"overlay mounts by users: not permitted; without them builds copy files; Linux 5.11"}},
		{"hidden /proc", unpriv.Features{PIDNS: broken}, []string{"a /proc for new PID namespaces: not permitted; "}},
	} {
		got := lacking(tc.f)
		for i, want := range tc.want {
			if i >= len(got) || !strings.HasPrefix(got[i], want) {
				t.Errorf("%s: got %q, want %q", tc.name, got, want)
			}
		}
		if tc.f.UserNS != nil && len(got) != 1 {
			t.Errorf("%s: %d lines, want 1: %q", tc.name, len(got), got)
		}
	}
}

func TestLackPrintsAndFails(t *testing.T) {
	f := newFixture(t, nil)
	if err := f.env.lack(nil); err != nil || f.out.Len() > 0 {
		t.Errorf("nothing lacking: %v, %q", err, &f.out)
	}
	if err := f.env.lack([]string{"a", "b"}); exitCode(err) != exitFailed || f.out.String() != "a\nb\n" {
		t.Errorf("two lines: %v, %q", err, &f.out)
	}
}

type hinted struct{ error }

func (hinted) Hint() string { return "do\nthis" }

func TestLackLine(t *testing.T) {
	if got, want := lackLine("x", hinted{errors.New("e")}, "other"), "x: e; do this"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
