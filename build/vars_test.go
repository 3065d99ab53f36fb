package build

import (
	"slices"
	"testing"

	"virga/parser"
)

// Of an ARG and an ENV of one name the later one counts, and a stage sees the
// ARGs of the stage it is from.
func TestScopeOrder(t *testing.T) {
	f, err := parser.Parse("Dockerfile", []byte("FROM a\nARG A=arg B=arg C=arg\nENV B=env\nENV D=env\nARG D\nARG C\nARG E=${B}+${C}\nARG G=arg\n"))
	if err != nil {
		t.Fatal(err)
	}
	s := newScope(map[string]string{"G": "given"}, nil).stage()
	env := []string{"C=base"}
	for _, in := range f.Stages[0].Instructions {
		switch in := in.(type) {
		case *parser.Arg:
			if _, err := s.declare(in, env); err != nil {
				t.Fatal(err)
			}
		case *parser.Env:
			s.set(in)
			env = append(env, in.Pairs[0].Key.Text+"="+in.Pairs[0].Value.Text)
		}
	}
	child := newScope(nil, nil).stage()
	child.inherit(s)
	for name, want := range map[string]string{"A": "arg", "B": "env", "C": "arg", "D": "env", "E": "env+arg", "G": "given"} {
		for of, sc := range map[string]*scope{"stage": s, "child": child} {
			if got, ok := sc.lookup(env)(name); !ok || got != want {
				t.Errorf("%s in the %s is %q, want %q", name, of, got, want)
			}
			if !slices.Contains(sc.runEnv(env), name+"="+want) {
				t.Errorf("RUN of the %s sees %q, want %s=%s", of, sc.runEnv(env), name, want)
			}
		}
	}
	delete(child.args, "A")
	if _, ok := s.args["A"]; !ok {
		t.Error("the child's scope is the parent's")
	}
}
