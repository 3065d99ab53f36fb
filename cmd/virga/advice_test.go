package main

import (
	"strings"
	"testing"

	"virga/build"
	"virga/unpriv"
)

func TestRunAdvice(t *testing.T) {
	env := &environment{getenv: func(string) string { return "" }}
	for _, test := range []struct {
		output string
		code   int
		forced bool
		want   string // how the advice begins
	}{
		{"W: Temporary failure resolving 'deb.example.org'", 100, true, "the network was not reached"},
		{"curl: (7) Failed to connect to example.org port 443", 7, true, "the network was not reached"},
		{"Failed to connect to socket /run/dbus/system_bus_socket: No such file or directory\nE: broken", 1, true, ""},
		{"Failed to connect to bus: No data available", 1, true, ""},
		{"connect to 127.0.0.1 port 5432: Connection refused", 1, true, ""},
		{"Failed to connect to bus: x\nCould not resolve host: example.org", 1, true, "the network was not reached"},
		{"Failed to connect to socket /run/x\nchown: changing ownership of 'f': Operation not permitted", 1, false, "root is not emulated"},
		{"tar: write: No space left on device", 2, true, "free some space"},
		{"", 127, true, "a program was not found"},
		{"", 137, true, "killed: out of memory"},
	} {
		got := env.runAdvice(&build.RunError{Status: unpriv.Status{Code: test.code}, Forced: test.forced}, test.output)
		if !strings.HasPrefix(got, test.want) || test.want == "" && got != "" {
			t.Errorf("%q, status %d: %q, want %q", test.output, test.code, got, test.want)
		}
	}
}
