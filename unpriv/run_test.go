package unpriv

import (
	"testing"
)

func TestRunIsolates(t *testing.T) {
	if !inNamespaces(t, Entry{}) {
		return
	}
	root := newRoot(t)
	c := container(root, "show", "pid", "ids", "dir", "NoNewPrivs", "processes", "umask", "files", "session")
	c.Process.Cwd = "/tmp"
	got := runOK(t, c)
	want := "1\n0 0 []\n/tmp <nil>\n1\n1\n0022\n[0 1 2]\n1\n"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
