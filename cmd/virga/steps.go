package main

import (
	"fmt"
	"time"

	"virga/build"
)

// steps shows the instructions of a build, one line each on standard error:
// the line number in the Dockerfile, '*' for a result from the cache or '.'
// for one computed now, and the instruction. It implements build.Reporter.
type steps struct {
	env *environment
}

// Started prints the step.
func (s *steps) Started(st build.Step) {
	if s.env.globals.verbosity < 0 || s.env.globals.progress == "none" {
		return
	}
	name := ""
	if st.Name != "" {
		name = st.Name + " "
	}
	s.env.log.Info(fmt.Sprintf("%s%3d%c %s", name, st.Line, st.Flag, st.Text))
}

// Done tells at -v how long a computed step took.
func (s *steps) Done(st build.Step, err error) {
	if err == nil && st.Flag == '.' {
		s.env.log.Debug(fmt.Sprintf("line %d took %v", st.Line, st.Time.Round(time.Millisecond)))
	}
}
