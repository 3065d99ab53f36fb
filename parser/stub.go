package parser

type mountField struct{ key, value string }

func stubString() string { panic("BUG: not yet") }

// String implements [Instruction].
func (i *From) String() string { return stubString() }

// Expand implements [Instruction].
func (i *From) Expand(lookup Lookup) (Instruction, []string, error) { panic("BUG: not yet") }

var _ Instruction = (*From)(nil)

// String implements [Instruction].
func (i *Run) String() string { return stubString() }

// Expand implements [Instruction].
func (i *Run) Expand(lookup Lookup) (Instruction, []string, error) { panic("BUG: not yet") }

var _ Instruction = (*Run)(nil)

// String implements [Instruction].
func (i *Copy) String() string { return stubString() }

// Expand implements [Instruction].
func (i *Copy) Expand(lookup Lookup) (Instruction, []string, error) { panic("BUG: not yet") }

var _ Instruction = (*Copy)(nil)

// String implements [Instruction].
func (i *Add) String() string { return stubString() }

// Expand implements [Instruction].
func (i *Add) Expand(lookup Lookup) (Instruction, []string, error) { panic("BUG: not yet") }

var _ Instruction = (*Add)(nil)

// String implements [Instruction].
func (i *Arg) String() string { return stubString() }

// Expand implements [Instruction].
func (i *Arg) Expand(lookup Lookup) (Instruction, []string, error) { panic("BUG: not yet") }

var _ Instruction = (*Arg)(nil)

// String implements [Instruction].
func (i *Env) String() string { return stubString() }

// Expand implements [Instruction].
func (i *Env) Expand(lookup Lookup) (Instruction, []string, error) { panic("BUG: not yet") }

var _ Instruction = (*Env)(nil)

// String implements [Instruction].
func (i *Label) String() string { return stubString() }

// Expand implements [Instruction].
func (i *Label) Expand(lookup Lookup) (Instruction, []string, error) { panic("BUG: not yet") }

var _ Instruction = (*Label)(nil)

// String implements [Instruction].
func (i *Workdir) String() string { return stubString() }

// Expand implements [Instruction].
func (i *Workdir) Expand(lookup Lookup) (Instruction, []string, error) { panic("BUG: not yet") }

var _ Instruction = (*Workdir)(nil)

// String implements [Instruction].
func (i *User) String() string { return stubString() }

// Expand implements [Instruction].
func (i *User) Expand(lookup Lookup) (Instruction, []string, error) { panic("BUG: not yet") }

var _ Instruction = (*User)(nil)

// String implements [Instruction].
func (i *Cmd) String() string { return stubString() }

// Expand implements [Instruction].
func (i *Cmd) Expand(lookup Lookup) (Instruction, []string, error) { panic("BUG: not yet") }

var _ Instruction = (*Cmd)(nil)

// String implements [Instruction].
func (i *Entrypoint) String() string { return stubString() }

// Expand implements [Instruction].
func (i *Entrypoint) Expand(lookup Lookup) (Instruction, []string, error) { panic("BUG: not yet") }

var _ Instruction = (*Entrypoint)(nil)

// String implements [Instruction].
func (i *Expose) String() string { return stubString() }

// Expand implements [Instruction].
func (i *Expose) Expand(lookup Lookup) (Instruction, []string, error) { panic("BUG: not yet") }

var _ Instruction = (*Expose)(nil)

// String implements [Instruction].
func (i *Volume) String() string { return stubString() }

// Expand implements [Instruction].
func (i *Volume) Expand(lookup Lookup) (Instruction, []string, error) { panic("BUG: not yet") }

var _ Instruction = (*Volume)(nil)

// String implements [Instruction].
func (i *StopSignal) String() string { return stubString() }

// Expand implements [Instruction].
func (i *StopSignal) Expand(lookup Lookup) (Instruction, []string, error) { panic("BUG: not yet") }

var _ Instruction = (*StopSignal)(nil)

// String implements [Instruction].
func (i *Healthcheck) String() string { return stubString() }

// Expand implements [Instruction].
func (i *Healthcheck) Expand(lookup Lookup) (Instruction, []string, error) { panic("BUG: not yet") }

var _ Instruction = (*Healthcheck)(nil)

// String implements [Instruction].
func (i *Shell) String() string { return stubString() }

// Expand implements [Instruction].
func (i *Shell) Expand(lookup Lookup) (Instruction, []string, error) { panic("BUG: not yet") }

var _ Instruction = (*Shell)(nil)

// String implements [Instruction].
func (i *Onbuild) String() string { return stubString() }

// Expand implements [Instruction].
func (i *Onbuild) Expand(lookup Lookup) (Instruction, []string, error) { panic("BUG: not yet") }

var _ Instruction = (*Onbuild)(nil)

// String implements [Instruction].
func (i *Maintainer) String() string { return stubString() }

// Expand implements [Instruction].
func (i *Maintainer) Expand(lookup Lookup) (Instruction, []string, error) { panic("BUG: not yet") }

var _ Instruction = (*Maintainer)(nil)

// String implements [Instruction].
func (i *Rsync) String() string { return stubString() }

// Expand implements [Instruction].
func (i *Rsync) Expand(lookup Lookup) (Instruction, []string, error) { panic("BUG: not yet") }

var _ Instruction = (*Rsync)(nil)
