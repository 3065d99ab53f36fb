package fakeroot

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// timedCalls are what BenchmarkNotification measures; each is one notification.
func timedCalls() map[string]func() error {
	return map[string]func() error{
		"time-getuid": func() error { unix.Getuid(); return nil },
		"time-stat":   func() error { return unix.Stat("/etc/hostname", new(unix.Stat_t)) },
		"time-chown":  func() error { return unix.Fchownat(unix.AT_FDCWD, "/tmp/timed", 0, 0, 0) },
	}
}

// timeCalls is the program that measures: it prints nanoseconds per call.
func timeCalls(call func() error) error {
	if err := os.WriteFile("/tmp/timed", nil, 0o644); err != nil {
		return err
	}
	const n = 20000
	start := time.Now()
	for range n {
		if err := call(); err != nil {
			return err
		}
	}
	fmt.Println(time.Since(start).Nanoseconds() / n)
	return nil
}

// BenchmarkNotification reports the cost of one call in a watched program, with
// the supervisor and without (plain).
func BenchmarkNotification(b *testing.B) {
	base := debian(b)
	for _, mode := range []Mode{ModePlain, ModeSeccomp} {
		for name := range timedCalls() {
			b.Run(mode.String()+"/"+name, func(b *testing.B) {
				c := newContainer(b, base.dir, base.table, "self", name)
				c.Mode = mode
				o := c.run(b)
				ns, err := strconv.ParseFloat(strings.TrimSpace(o.Output), 64)
				if err != nil || o.Status != 0 {
					b.Fatalf("status %d, %q", o.Status, o.Output)
				}
				b.ReportMetric(ns/1000, "µs/call")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}
