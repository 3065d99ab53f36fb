package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"virga/progress"
)

// drawer is what writes a trace in the format of a file's name, or nil.
func drawer(name string) func(*progress.Trace, io.Writer) error {
	switch filepath.Ext(name) {
	case ".svg":
		return (*progress.Trace).WriteSVG
	case ".html":
		return (*progress.Trace).WriteHTML
	}
	return nil
}

// writeTiming draws where the time of a build went, also of one that failed.
// An empty name is no wish for it.
func (env *environment) writeTiming(name string) error {
	if name == "" {
		return nil
	}
	t := env.show.trace
	t.Event(progress.Event{Kind: progress.End, Time: time.Now(), CPU: cpuTime().Seconds()})
	var b bytes.Buffer
	if err := drawer(name)(t, &b); err != nil {
		return fmt.Errorf("--timing: %w", err)
	}
	if err := os.WriteFile(env.abs(name), b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("--timing: %w", err)
	}
	return nil
}
