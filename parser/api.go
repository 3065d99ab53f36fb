package parser

// Parse reads a Dockerfile. The name is used in messages only. An error is an [ErrorList] with all errors found, in
// order of position; the tree is then nil.
func Parse(name string, src []byte) (*File, error) { panic("BUG: not yet") }

// ParseInstruction reads one instruction, such as a trigger stored in an image configuration (whose escape is '\\'). An
// error is an [ErrorList].
func ParseInstruction(name, text string, escape rune) (Instruction, error) { panic("BUG: not yet") }

// Script is what a shell-form RUN runs: text for the shell, or, if the whole command is one here-document that begins
// with "#!", an executable file (then file is true, and text its content). The file is named after the heredoc, and
// stands alone on the command line.
func (c *Command) Script() (text string, file bool) { panic("BUG: not yet") }

// Body is the content with the tabs of <<- dropped.
func (h *Heredoc) Body() string { panic("BUG: not yet") }

// Test is the Test field of the image configuration: {"NONE"}, {"CMD", ...} or {"CMD-SHELL", text}.
func (h *Healthcheck) Test() []string { panic("BUG: not yet") }

// Value expands the default. An ok of false means that there is none. A caller declares the ARGs of one instruction one
// by one, so that each default sees those before it, and asks only for the defaults it needs: an error in a default
// that a build argument replaces is no error.
func (a *ArgDef) Value(lookup Lookup) (value string, ok bool, unset []string, err error) {
	panic("BUG: not yet")
}

// ParsePort reads a word of EXPOSE, after expansion, and gives the ports as image configurations name them: "80/tcp".
// Ranges give several; addresses and host ports are accepted and dropped, as Docker does.
func ParsePort(word string) ([]string, error) { panic("BUG: not yet") }

// Expand substitutes variables in one word and removes quotes and escapes. An error is an *[Error] whose Pos.Column is the
// place in word.
func Expand(word string, escape rune, lookup Lookup) (value string, unset []string, err error) {
	panic("BUG: not yet")
}

// ExpandWords is Expand that then splits at unquoted blanks, also those that came from variables.
func ExpandWords(word string, escape rune, lookup Lookup) (words []string, unset []string, err error) {
	panic("BUG: not yet")
}

// ExpandText substitutes variables in the body of a heredoc: quotes mean nothing, and the escape is always '\\'.
func ExpandText(text string, lookup Lookup) (value string, unset []string, err error) {
	panic("BUG: not yet")
}

// ExpandDisplay substitutes the variables that are set, and keeps all else as written, for showing a command to people.
// If word cannot be read, it is returned unchanged.
func ExpandDisplay(word string, escape rune, lookup Lookup) string { panic("BUG: not yet") }

// CheckOptions say what Check may assume. The zero value assumes nothing about base images.
type CheckOptions struct {
	// BaseEnv gives the names of the variables an image reference sets; ok is false if they are not known.
	BaseEnv func(ref string) (names []string, ok bool)
	// Skip names rules not to be run, "all" for every one, in addition to the file's own check directive.
	Skip []string
}

// A Warning is what Check found: valid, but likely not meant.
type Warning struct {
	Rule string // the name of BuildKit's build check
	Pos  Pos
	Msg  string
	Hint string
}

// Check runs the build checks on f. fail is true if the check directive says that warnings are errors, and there is one.
func Check(f *File, opts CheckOptions) (warnings []Warning, fail bool) { panic("BUG: not yet") }

// String is f in canonical form.
func (f *File) String() string { panic("BUG: not yet") }

// Tree is the syntax tree for people, one instruction a line, its parts indented below it.
func (f *File) Tree() string { panic("BUG: not yet") }

// MarshalJSON is the syntax tree for programs; docs/parse-tree.md describes it.
func (f *File) MarshalJSON() ([]byte, error) { panic("BUG: not yet") }
