package fakeroot

// Injection inserts arguments after a command word in RUN (--force-cmd).
type Injection struct {
	Command string
	Args    []string
}

// ParseInjection reads a value of --force-cmd: CMD,ARG[,ARG...], where "\,"
// is a comma that does not separate.
func ParseInjection(s string) (Injection, error) { panic("BUG: not yet") }

// DefaultInjections are those of [ModePlain]: apt verifies that its setuid(2)
// had an effect, so its sandbox must be turned off.
func DefaultInjections() []Injection { panic("BUG: not yet") }

// InjectShell edits the text of a shell command: args are inserted after each
// word that equals a command. It reports whether anything changed.
func InjectShell(text string, in []Injection) (string, bool) { panic("BUG: not yet") }

// InjectExec does the same with an argument list (RUN's exec form).
func InjectExec(argv []string, in []Injection) ([]string, bool) { panic("BUG: not yet") }
