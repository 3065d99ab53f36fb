package main

import (
	"fmt"
	"regexp"
	"syscall"

	"golang.org/x/sys/unix"

	"virga/build"
)

// symptom is what programs print when something outside of them is wrong, and
// what to do about it.
type symptom struct {
	words  string // a regular expression, of either case
	advice string
}

// symptoms are looked for in the last output of a RUN that failed, in this
// order.
var symptoms = []symptom{
	{`no space left on device`, "free some space, or choose another storage directory with --storage DIR"},
	{`disk quota exceeded`, "the disk quota is used up: free some space, or choose another storage directory with --storage DIR"},
	{`exec format error|cannot execute binary file`, "a program in the image is for another architecture: compare virga inspect with uname -m, and see --arch"},
	{`certificate verify failed|self.signed certificate|unable to get local issuer certificate|certificate is not trusted|unknown authority|peer's certificate`,
		"the site's certificate authority is not known in the image: COPY it and run update-ca-certificates, or mount the host's with --bind"},
	{network, ""}, // networkAdvice
	{`unable to locate package|no installation candidate|no match for argument|unable to find a match`,
		"the name is wrong, or the list of packages missing or old: update it in the same RUN (apt-get update && apt-get install -y ...)"},
	{`hash sum mismatch|file has unexpected size`, "a proxy or mirror gave an old file: try again, or with --rebuild so that the package lists are fetched anew"},
}

// network is what programs print when they cannot reach the network.
const network = `temporary failure (in name resolution|resolving)|could not resolve|name or service not known|bad address '|network is unreachable|` +
	`connection timed out|could not connect to|no route to host|failed to connect to|unable to connect to|connection refused`

// local is in lines about what is no network: services that do not run in a
// build, such as D-Bus and systemd, which many an installation tries and needs
// not.
const local = `\bd-?bus\b|\bsocket\b.*(/|bus)|/run/|\blocalhost\b|\b127\.0\.0\.1\b|failed to connect to (bus|socket)`

// denied is what programs print that need root.
const denied = `operation not permitted|permission denied|must be root|are you root|requires? (superuser|root)`

// signals are statuses of shells whose program was ended by a signal.
var signals = map[syscall.Signal]string{
	unix.SIGKILL: "killed: out of memory, or a limit of the batch job (sstat, dmesg and ulimit -a tell more)",
	unix.SIGSEGV: "the program crashed",
	unix.SIGBUS:  "the program crashed: a full /dev/shm or file system is a usual cause",
	unix.SIGILL:  "illegal instruction: the program is for a newer processor than this one",
	unix.SIGXCPU: "the limit of processor time is used up (ulimit -t)",
	unix.SIGXFSZ: "the limit of file size was reached (ulimit -f)",
	unix.SIGSYS:  "the program made a system call that is not allowed here",
}

// runAdvice is what is known about the cause of a RUN's failure, from how it
// ended and what it printed last.
func (env *environment) runAdvice(e *build.RunError, output string) string {
	sig := e.Status.Signal
	if sig == 0 && e.Status.Code > 128 {
		sig = syscall.Signal(e.Status.Code - 128)
	}
	if text, ok := signals[sig]; ok {
		return fmt.Sprintf("%s (signal %d, %s)", text, int(sig), unix.SignalName(sig))
	}
	has := func(words string) bool { return regexp.MustCompile("(?i)" + words).MatchString(output) }
	if has(denied) && !e.Forced {
		return "root is not emulated (--force=none): leave that option out"
	}
	output = regexp.MustCompile("(?im)^.*("+local+").*$").ReplaceAllString(output, "")
	for _, s := range symptoms {
		switch {
		case !has(s.words):
		case s.advice == "":
			return env.networkAdvice()
		default:
			return s.advice
		}
	}
	switch {
	case e.Status.Code == 126:
		return "the program is there and cannot be executed: is it executable, and for this architecture?"
	case e.Status.Code == 127:
		return "a program was not found: is it installed in the image, and in $PATH?"
	}
	return e.Hint()
}

// networkAdvice depends on whether a proxy is set; RUN sees the caller's.
func (env *environment) networkAdvice() string {
	for _, name := range []string{"https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY"} {
		if v := env.getenv(name); v != "" {
			return fmt.Sprintf("the network was not reached, though $%s is set, which RUN sees: is the proxy right?", name)
		}
	}
	return "the network was not reached: where there is only a proxy, set http_proxy and https_proxy, which RUN sees"
}
