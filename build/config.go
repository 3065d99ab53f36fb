package build

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"virga/image"
	"virga/parser"
)

// settings is the configuration of a stage as it grows.
type settings struct {
	image.RunConfig
	// cmdSet says that this stage has a CMD of its own, which an ENTRYPOINT then leaves alone. An
	// inherited CMD was meant for the inherited ENTRYPOINT.
	cmdSet bool
}

// configure applies an instruction that only changes the configuration. It
// reports false for instructions that are not of that kind.
func (c *settings) configure(in parser.Instruction) (bool, error) {
	switch in := in.(type) {
	case *parser.Env:
		for _, p := range in.Pairs {
			c.Env = image.Setenv(c.Env, p.Key.Text, p.Value.Text)
		}
	case *parser.Label:
		for _, p := range in.Pairs {
			setKey(&c.Labels, p.Key.Text, p.Value.Text)
		}
	case *parser.Cmd:
		c.Cmd, c.cmdSet = c.commandLine(&in.Command), true
		c.ArgsEscaped = false
	case *parser.Entrypoint:
		c.Entrypoint = c.commandLine(&in.Command)
		if !c.cmdSet {
			c.Cmd = nil
		}
	case *parser.Expose:
		for _, w := range in.Ports {
			ports, err := parser.ParsePort(w.Text)
			if err != nil {
				return true, err
			}
			for _, p := range ports {
				setKey(&c.ExposedPorts, p, struct{}{})
			}
		}
	case *parser.Volume:
		for _, w := range in.Paths {
			if w.Text == "" {
				return true, fmt.Errorf("volume path is empty")
			}
			setKey(&c.Volumes, w.Text, struct{}{})
		}
	case *parser.User:
		c.User = in.Name.Text
	case *parser.StopSignal:
		if !isSignal(in.Signal.Text) {
			return true, fmt.Errorf("%q is no signal", in.Signal.Text)
		}
		c.StopSignal = in.Signal.Text
	case *parser.Shell:
		c.Shell = slices.Clone(in.Args)
	case *parser.Onbuild:
		c.OnBuild = append(slices.Clip(c.OnBuild), in.Text)
	case *parser.Healthcheck:
		c.Healthcheck = &image.Healthcheck{
			Test: in.Test(), Interval: in.Interval, Timeout: in.Timeout,
			StartPeriod: in.StartPeriod, StartInterval: in.StartInterval, Retries: in.Retries,
		}
	case *parser.Maintainer, *parser.Arg:
		// Author is the image's, not the container's: the stage sets it.
	default:
		return false, nil
	}
	return true, nil
}

func setKey[V any](m *map[string]V, k string, v V) {
	if *m == nil {
		*m = map[string]V{}
	}
	(*m)[k] = v
}

// shell is the program that runs shell-form commands.
func (c *settings) shell() []string {
	if len(c.Shell) > 0 {
		return c.Shell
	}
	return []string{"/bin/sh", "-c"}
}

// isSignal tells whether Docker takes s as a signal: a number, or a name in
// any case, with or without SIG, realtime ones as RTMIN+N and RTMAX-N.
func isSignal(s string) bool {
	if n, err := strconv.Atoi(s); err == nil {
		return n != 0
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if n, ok := strings.CutPrefix(name, "RTMIN"); ok {
		return n == "" || n[0] == '+' && isRealtime(n[1:])
	}
	if n, ok := strings.CutPrefix(name, "RTMAX"); ok {
		return n == "" || n[0] == '-' && isRealtime(n[1:])
	}
	return unix.SignalNum("SIG"+name) != 0
}

// isRealtime tells the distances of realtime signals from their ends.
func isRealtime(n string) bool {
	i, err := strconv.Atoi(n)
	return err == nil && i >= 1 && i <= 15
}

// commandLine is the argument list of CMD and ENTRYPOINT.
func (c *settings) commandLine(cmd *parser.Command) []string {
	if cmd.JSON {
		return append([]string{}, cmd.Args...)
	}
	if len(cmd.Args) == 0 {
		return nil
	}
	return append(slices.Clone(c.shell()), cmd.Args[0])
}

// workdir is the absolute path that WORKDIR arg means after dir.
func workdir(dir, arg string) string {
	if path.IsAbs(arg) {
		return path.Clean(arg)
	}
	return path.Join("/", dir, arg)
}
