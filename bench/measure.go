package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// sample is what one run took.
type sample struct {
	Wall float64 // seconds
	CPU  float64 // seconds, user and system, of all processes
	Mem  float64 // bytes, resident set of the largest process
}

// shellCharacters make a line one that only a shell understands.
const shellCharacters = "|&;<>()$`\\\"'*?[#~=%{\n"

// limit ends a command that hangs.
const limit = 20 * time.Minute

// command is line as a process in the workspace.
func (w *workspace) command(ctx context.Context, line string, round int) *exec.Cmd {
	argv := []string{"/bin/sh", "-ec", line}
	if expanded := os.Expand(line, w.variable); !strings.ContainsAny(expanded, shellCharacters) {
		words := strings.Fields(expanded)
		if words[0] = w.find(words[0]); filepath.IsAbs(words[0]) { // no shell's own command
			argv = words
		}
	}
	c := exec.CommandContext(ctx, argv[0], argv[1:]...)
	c.Dir = w.dir
	c.Env = append(w.environ(), fmt.Sprintf("ROUND=%d", round))
	// What it started ends with it.
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = 10 * time.Second
	return c
}

// do runs a line that is not timed.
func (w *workspace) do(ctx context.Context, line string, round int) error {
	if strings.TrimSpace(line) == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c := w.command(ctx, line, round)
	var out tail
	c.Stdout, c.Stderr = &out, &out
	if err := c.Run(); err != nil {
		return fmt.Errorf("%w: %s", err, out.last())
	}
	return nil
}

// time runs a line and measures it. Output goes to a file, as for a batch job.
func (w *workspace) time(ctx context.Context, line string, round int) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	out, err := os.OpenFile(w.dir+"/output", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return sample{}, err
	}
	defer out.Close()
	c := w.command(ctx, line, round)
	c.Stdout, c.Stderr = out, out
	before, group := selfCPU(), w.groupCPU()
	start := time.Now()
	err = c.Run()
	s := sample{Wall: time.Since(start).Seconds()}
	after, groupAfter := selfCPU(), w.groupCPU()
	if err != nil {
		text, _ := os.ReadFile(w.dir + "/output")
		return s, fmt.Errorf("%w: %s", err, lastLine(text))
	}
	usage, ok := c.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return s, errors.New("BUG: no usage of the process")
	}
	s.CPU = seconds(usage.Utime) + seconds(usage.Stime)
	// What daemons used on the run's behalf is in the group's account only.
	if groupAfter > group {
		s.CPU = max(s.CPU, groupAfter-group-(after-before))
	}
	s.Mem = float64(usage.Maxrss) * 1024
	return s, nil
}

func seconds(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }

// selfCPU is the time that the harness itself has used.
func selfCPU() float64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return seconds(u.Utime) + seconds(u.Stime)
}

// tail keeps the end of what is written to it.
type tail struct{ buf []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - 4096; over > 0 {
		t.buf = t.buf[over:]
	}
	return len(p), nil
}

func (t *tail) last() string { return lastLine(t.buf) }

// lastLine is the last line that speaks of an error, else the last one.
func lastLine(text []byte) string {
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	for _, line := range slices.Backward(lines) {
		if bytes.Contains(bytes.ToLower(line), []byte("error")) {
			return shorten(string(line))
		}
	}
	return shorten(string(lines[len(lines)-1]))
}

// shorten cuts what is too long for a table.
func shorten(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 160 {
		s = s[:157] + "..."
	}
	return s
}
