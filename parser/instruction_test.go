package parser

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestInstructionExpand(t *testing.T) {
	for src, want := range map[string]string{
		"COPY --chown=$A:$A --chmod=$A --exclude=$A $A ${FILE##*/} /$A": "COPY --chown=abc:abc --chmod=abc --exclude=$A abc c.tar.gz /abc",
		`COPY ["$A", "b\\$A"]`:              `COPY ["abc", "b$A"]`,
		"ADD --checksum=$A --chown=$A a $A": "ADD --checksum=abc --chown=abc a abc",
		"ENV A=$A$A \"$A\"=x":               "ENV A=abcabc abc=x",
		"ENV A $A  'b'":                     "ENV A abc  b",
		"LABEL a=\"$A\" b='$A'":             "LABEL a=abc b=$A",
		"WORKDIR $A/x":                      "WORKDIR abc/x",
		"USER $A:\"b c\"":                   "USER abc:b c",
		"VOLUME $A /x":                      "VOLUME abc /x",
		"STOPSIGNAL SIG$A":                  "STOPSIGNAL SIGabc",
		"EXPOSE ${NO:-80}/tcp 81 $PORT":     "EXPOSE 80/tcp 81 90 91-92/udp",
		"ARG X=$A Y=$X-$A Z":                "ARG X=abc Y=abc-abc Z",
		"RSYNC +z --x=$A $A b":              "RSYNC +z --x=abc abc b",
		"CMD $A":                            "CMD $A",
		"ENTRYPOINT [\"$A\"]":               "ENTRYPOINT [\"$A\"]",
		"HEALTHCHECK CMD $A":                "HEALTHCHECK CMD $A",
		"SHELL [\"$A\"]":                    "SHELL [\"$A\"]",
		"MAINTAINER $A":                     "MAINTAINER $A",
		"ONBUILD ENV A=$A":                  "ONBUILD ENV A=$A",
		"RUN --network=none $A <<E\n$A\nE":  "RUN --network=none $A <<E\n$A\nE",
	} {
		lookup := func(name string) (string, bool) {
			if name == "PORT" {
				return "90 91-92/udp", true
			}
			return testLookup(name)
		}
		out, unset, err := first(t, src).Expand(lookup)
		if err != nil || out.String() != want || len(unset) > 0 {
			t.Errorf("%s: %v, unset %q, %v; want %s", src, out, unset, err, want)
		}
	}
}

func TestFromExpand(t *testing.T) {
	f := mustParse(t, "FROM --platform=$A $FILE AS x\n").Stages[0].From
	out, _, err := f.Expand(testLookup)
	if want := "FROM --platform=abc /a/b/c.tar.gz AS x"; err != nil || out.String() != want {
		t.Errorf("%v, %v; want %s", out, err, want)
	}
}

func TestHeredocExpand(t *testing.T) {
	in := first(t, "COPY <<E <<-'F' <<-G /x\n$A \\$A \"$A\"\nE\n\t$A\nF\n\t$A$NO\n\tx\nG\n")
	out, unset, err := in.Expand(testLookup)
	if err != nil || !slices.Equal(unset, []string{"NO"}) {
		t.Fatalf("unset %q, %v", unset, err)
	}
	var got []string
	for _, h := range out.(*Copy).Files {
		got = append(got, h.Body())
	}
	if want := []string{"abc $A \"abc\"\n", "$A\n", "abc\nx\n"}; !slices.Equal(got, want) {
		t.Errorf("bodies %q; want %q", got, want)
	}
}

func TestRunExpand(t *testing.T) {
	r := first(t, `RUN --mount=type=$T,target=/$A,id="$A b",sharing=$S,uid=$U,mode=07$U5 x`).(*Run)
	if r.Mounts[0].Resolved {
		t.Error("a mount with variables counts as resolved")
	}
	lookup := func(name string) (string, bool) {
		v, ok := map[string]string{"T": "cache", "A": "abc", "S": "locked", "U": "5", "U5": "55"}[name]
		return v, ok
	}
	out, unset, err := r.Expand(lookup)
	if err != nil || unset != nil {
		t.Fatalf("unset %q, %v", unset, err)
	}
	m := out.(*Run).Mounts[0]
	if !m.Resolved || m.Type != MountCache || m.Target != "/abc" || m.ID != "abc b" || m.Sharing != "locked" || *m.UID != 5 || *m.Mode != 0o755 {
		t.Errorf("mount %+v", m)
	}
	if r.Mounts[0].Target != "" {
		t.Error("Expand changed the original")
	}
}

func TestExpandUnset(t *testing.T) {
	for src, want := range map[string]string{
		"ENV A=$X$Y B=$X${Z:-}":           "X Y",
		"COPY $X ${Y#a} ${Z+z}/":          "X Y",
		"RUN --mount=target=/$X,src=$Y a": "X Y",
		"EXPOSE $X 80":                    "X",
		"ARG A=$X B=$A":                   "X",
	} {
		_, unset, err := first(t, src).Expand(noVariables)
		if err != nil || strings.Join(unset, " ") != want {
			t.Errorf("%s: unset %q, %v; want %q", src, unset, err, want)
		}
	}
}

// TestExpandErrors: errors of substitution stand where they are in the file.
func TestExpandErrors(t *testing.T) {
	for src, want := range map[string]string{
		"ENV A=b \\\n  C=x${A^}":            "Dockerfile:3:6: \"^\" is not an operator of ${name...}",
		"WORKDIR ${NO?needed}":              "Dockerfile:2:9: the variable NO is not set: needed",
		"ENV $NO=x":                         "Dockerfile:2:5: the name is empty once the variables in $NO are replaced",
		"VOLUME $NO":                        "Dockerfile:2:8: the path is empty once the variables in $NO are replaced",
		"EXPOSE 80 $FILE":                   "Dockerfile:2:11: port \"/a/b/c.tar.gz\": the protocol is tcp, udp or sctp",
		"RUN --mount=type=$A,target=/x a":   "Dockerfile:2:13: --mount: type= is one of bind, cache, tmpfs, secret, ssh, not \"abc\"",
		"RUN --mount=target=/x,src=${A a":   "Dockerfile:2:23: --mount: the } of ${ is missing",
		"COPY <<-E /x\n\ta\n\t\tb ${A^}\nE": "Dockerfile:4:5: \"^\" is not an operator of ${name...}",
		"COPY 'a b":                         "Dockerfile:2:6: the quote ' is not closed",
		"COPY --chown=\"${A^}\" a b":        "Dockerfile:2:6: \"^\" is not an operator of ${name...}",
		"ARG A=${B:?x}":                     "Dockerfile:2:7: the variable B is not set: x",
	} {
		in := first(t, src)
		_, _, err := in.Expand(testLookup)
		var e *Error
		if !errors.As(err, &e) || e.Error() != want {
			t.Errorf("%q: error %v; want %s", src, err, want)
		} else if lines := strings.Split("FROM a\n"+src, "\n"); e.SourceLine != lines[e.Pos.Line-1] {
			t.Errorf("%q: source line %q", src, e.SourceLine)
		}
	}
	_, _, err := mustParse(t, "ARG A\nFROM $A\n").Stages[0].From.Expand(noVariables)
	if want := "Dockerfile:2:6: the image is empty once the variables in $A are replaced"; err == nil || err.Error() != want {
		t.Errorf("error %v; want %s", err, want)
	}
}

func TestArgDefValue(t *testing.T) {
	a := first(t, "ARG A=x$B C D=${E?}").(*Arg)
	lookup := func(name string) (string, bool) { return "1", name == "B" }
	v, ok, _, err := a.Args[0].Value(lookup)
	if v != "x1" || !ok || err != nil {
		t.Errorf("%q, %v, %v", v, ok, err)
	}
	if _, ok, _, err := a.Args[1].Value(lookup); ok || err != nil {
		t.Errorf("no default: %v, %v", ok, err)
	}
	if _, _, _, err := a.Args[2].Value(lookup); err == nil {
		t.Error("no error")
	}
}

// TestFlagRoundTrip: flag values with everything in them survive printing and parsing.
func TestFlagRoundTrip(t *testing.T) {
	for _, escape := range []string{"", "# escape=`\n"} {
		for _, value := range []string{"a b", `a"b'c`, `\`, "`", "a\tb\\", "é ü", "$x ${y:-a b}", ` "`} {
			quoted := strings.NewReplacer(" ", "\x01 ", "\t", "\x01\t", `"`, "\x01\"", "'", "\x01'").Replace(value)
			esc := `\`
			if escape != "" {
				esc = "`"
			}
			quoted = strings.ReplaceAll(strings.ReplaceAll(quoted, esc, esc+esc), "\x01", esc)
			f := mustParse(t, fmt.Sprintf("%sFROM a\nCOPY --chown=%s x y\n", escape, quoted))
			if got := f.Stages[0].Instructions[0].(*Copy).Chown.Text; got != value {
				t.Errorf("%q is read as %q", quoted, got)
			}
			g := mustParse(t, f.String())
			if got := g.Stages[0].Instructions[0].(*Copy).Chown.Text; got != value {
				t.Errorf("%q is printed as %q and read as %q", value, f.String(), got)
			}
		}
	}
}

func TestCheckOptions(t *testing.T) {
	f := mustParse(t, "FROM img:1\nENV A=$GOPATH B=$NOPE\nCMD x\n")
	opts := CheckOptions{Skip: []string{"JSONArgsRecommended"}, BaseEnv: func(ref string) ([]string, bool) {
		return []string{"GOPATH"}, ref == "img:1"
	}}
	warnings, fail := Check(f, opts)
	if len(warnings) != 1 || warnings[0].Rule != "UndefinedVar" || !strings.Contains(warnings[0].Msg, "NOPE") || fail {
		t.Errorf("warnings %v, fail %v", warnings, fail)
	}
	if warnings, _ := Check(f, CheckOptions{Skip: []string{"all"}}); len(warnings) > 0 {
		t.Errorf("with all rules skipped: %v", warnings)
	}
}

func TestParseCheckOptions(t *testing.T) {
	o, err := ParseCheckOptions("skip=A, B;error=true")
	if err != nil || !slices.Equal(o.Skip, []string{"A", ""}) || o.Error {
		t.Errorf("%+v, %v: only the first word counts", o, err)
	}
	o, err = ParseCheckOptions("skip=A,B;experimental=all;error=1")
	if err != nil || !slices.Equal(o.Skip, []string{"A", "B"}) || !slices.Equal(o.Experimental, []string{"all"}) || !o.Error {
		t.Errorf("%+v, %v", o, err)
	}
	for _, s := range []string{"skip", "x=y", "error=z"} {
		if _, err := ParseCheckOptions(s); err == nil {
			t.Errorf("%q: no error", s)
		}
	}
}

func TestNearest(t *testing.T) {
	for word, want := range map[string]string{
		"rnu": "RUN", "COPPY": "COPY", "FORM": "FROM", "set": "", "FOO": "", "x": "", "ENTRYPIONT": "ENTRYPOINT", "WORKDRI": "WORKDIR",
	} {
		if got := nearest(word, keywords()); got != want {
			t.Errorf("%q: %q; want %q", word, got, want)
		}
	}
}

func TestValidReference(t *testing.T) {
	for _, s := range []string{"a", "a/b:1", "localhost/x", "Host.Example:5000/a/b@sha256:abc", "a.b/c", "a_b-c:V1"} {
		if !validReference(s) {
			t.Errorf("%q counts as wrong", s)
		}
	}
	for _, s := range []string{"", "A", "a:", "a:b:c", "/a", "a//b", "a@", "a@x", "-a", "a:.x", "a b"} {
		if validReference(s) {
			t.Errorf("%q counts as right", s)
		}
	}
}
