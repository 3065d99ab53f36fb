package parser

import "time"

// A Pos is a place in the source: line and column from 1. Columns count bytes, so that a column is an index into the
// line; [Error.Snippet] takes care of tabs and wide text. The zero Pos is no place.
type Pos struct {
	Line   int `json:"line"`
	Column int `json:"column"`
}

// A File is one parsed Dockerfile.
type File struct {
	Name       string
	Directives Directives
	Escape     rune // the escape character: '\\' unless the escape directive says '`'
	MetaArgs   []*Arg
	Stages     []*Stage

	src     *source
	emptyAt []Pos // blank lines inside instructions, for Check
}

// Directives are the parser directives at the top of a file. Those absent have an empty Value.
type Directives struct {
	Syntax Directive // recorded, never acted on: this parser is the frontend
	Escape Directive
	Check  Directive // options of Check; see [ParseCheckOptions]
}

// A Directive is the value of one parser directive.
type Directive struct {
	Value string
	Pos   Pos
}

// A Stage is a FROM and what follows up to the next FROM.
type Stage struct {
	From         *From
	Instructions []Instruction
}

// Name is the stage's name in lower case, or "" if it has none.
func (s *Stage) Name() string { return s.From.As }

// An Instruction is one of *From, *Run, *Copy, *Add, *Arg, *Env, *Label, *Workdir, *User, *Cmd, *Entrypoint, *Expose,
// *Volume, *StopSignal, *Healthcheck, *Shell, *Onbuild, *Maintainer, *Rsync. Instructions are never changed after
// parsing; Expand makes copies.
type Instruction interface {
	// Pos is where the keyword stands.
	Pos() Pos
	// EndLine is the last line that belongs to the instruction, heredoc bodies included.
	EndLine() int
	// Keyword is the instruction's name in capitals: "RUN".
	Keyword() string
	// Source is the text as written, with its line breaks and comments, without the last line break.
	Source() string
	// String is the canonical form: capitals, one space between words, continuation lines joined. Heredoc bodies
	// follow on lines of their own. Parsing it gives the same instruction, if the file's escape character is the same.
	String() string
	// Expand returns a copy with the variables of those fields replaced that the language says (see the package
	// documentation), and the names that were asked for, plainly, and were not set: `$x`, but not `${x:-y}`. An error
	// is an *[Error].
	Expand(lookup Lookup) (expanded Instruction, unset []string, err error)

	common() *node
}

// A Lookup gives the value of a variable. An ok of false means unset, which is not the same as empty.
type Lookup func(name string) (value string, ok bool)

// A Word is one argument. Before Expand its Text is as written, with quotes, escapes and $-references (of JSON forms:
// after JSON's own unquoting); afterwards it is the value.
type Word struct {
	Text string
	Pos  Pos

	off int // where Text starts in the logical line, or -1 if Text is not a piece of it
}

// String is the text of w.
func (w Word) String() string { return w.Text }

// From is FROM [--platform=P] IMAGE [AS NAME].
type From struct {
	*node
	Platform Word   // "" if not given
	Image    Word   // reference, earlier stage, named context or "scratch"
	As       string // the stage's name in lower case, or ""
	AsWord   Word   // the same as written

	asKeyword string
}

// A Command is the command of RUN, CMD, ENTRYPOINT, HEALTHCHECK. Nothing in it is ever expanded.
type Command struct {
	// JSON tells the exec form: Args are the arguments. In the shell form Args holds the shell's text as its one
	// element, or none if nothing was written.
	JSON bool
	Args []string
	// Heredocs are the here-documents of a RUN, in order. See [Command.Script].
	Heredocs []*Heredoc
}

// A Heredoc is a here-document: its word and its body.
type Heredoc struct {
	Name   string
	FD     int  // the number before <<, 0 if none
	Expand bool // no part of Name was quoted
	Chomp  bool // written <<-: leading tabs of every line of the body are dropped
	// Content is the body as written, every line with its line ending. Of expanded copies, the body that the file gets.
	Content string
	Pos     Pos

	bodyLine int  // of the first line of Content
	expanded bool // Content is final
}

// Run is RUN [--mount=..]... [--network=..] [--security=..] [--device=..]... COMMAND.
type Run struct {
	*node
	Command
	Mounts   []*Mount
	Network  string // "default", "none", "host"; "default" if not given
	Security string // "sandbox", "insecure"; "sandbox" if not given
	Devices  []Device
}

// A Device is a RUN --device: a CDI device name.
type Device struct {
	Name     string
	Required bool
}

// Types of a [Mount].
const (
	MountBind   = "bind"
	MountCache  = "cache"
	MountTmpfs  = "tmpfs"
	MountSecret = "secret"
	MountSSH    = "ssh"
)

// A Mount is a RUN --mount. Where an option's value holds a variable, Resolved is false and only From is to be relied
// on until [Run.Expand].
type Mount struct {
	Resolved bool
	Type     string // MountBind if not given
	From     string // stage, index, image or named context; never holds variables
	Source   string
	Target   string // "" if not given: the default depends on Type and ID
	ID       string
	Sharing  string // "shared", "private", "locked", or "" if not given
	ReadOnly bool   // with the type's default: true but for cache and tmpfs
	Required bool
	Size     int64   // bytes, tmpfs only, 0 if not given
	Env      *string // secret only: the variable; a pointer to "" takes the default name
	Mode     *uint32
	UID, GID *uint32
	Pos      Pos

	fields []mountField
}

// Paths is what COPY and ADD have in common.
type Paths struct {
	JSON    bool
	Sources []Word
	Files   []*Heredoc // heredoc sources: files named Name, made of Content
	Dest    Word
	Chown   Word
	Chmod   Word
	Link    bool
	Exclude []Word // patterns, never expanded

	args string // as written, if there are heredocs or what looks like them
}

// Copy is COPY [--from=..] [--chown=..] [--chmod=..] [--link] [--parents] [--exclude=..]... SRC... DEST.
type Copy struct {
	*node
	Paths
	From    Word // stage, index, image or named context; never holds variables
	Parents bool
}

// Add is ADD [--keep-git-dir] [--checksum=..] [--unpack] [--chown=..] [--chmod=..] [--link] [--exclude=..]... SRC... DEST.
type Add struct {
	*node
	Paths
	Checksum   Word
	Unpack     *bool // nil if not given
	KeepGitDir *bool // nil if not given
}

// Arg is ARG NAME[=DEFAULT]...
type Arg struct {
	*node
	Args []ArgDef
}

// An ArgDef is one declaration of an ARG. [ArgDef.Value] gives its default.
type ArgDef struct {
	Name    string
	Default *Word // nil if none was given
	Pos     Pos

	owner *node
}

// A Pair is one NAME=VALUE of ENV or LABEL.
type Pair struct {
	Key, Value Word
	Legacy     bool // written NAME VALUE

	gap string // the blanks between them then
}

// Env is ENV NAME=VALUE... or ENV NAME VALUE.
type Env struct {
	*node
	Pairs []Pair
}

// Label is LABEL NAME=VALUE... or LABEL NAME VALUE.
type Label struct {
	*node
	Pairs []Pair
}

// Workdir is WORKDIR PATH.
type Workdir struct {
	*node
	Path Word
}

// User is USER NAME[:GROUP].
type User struct {
	*node
	Name Word
}

// Cmd is CMD COMMAND.
type Cmd struct {
	*node
	Command
}

// Entrypoint is ENTRYPOINT COMMAND.
type Entrypoint struct {
	*node
	Command
}

// Expose is EXPOSE PORT[/PROTOCOL]... See [ParsePort] for the words.
type Expose struct {
	*node
	Ports []Word
}

// Volume is VOLUME PATH...
type Volume struct {
	*node
	JSON  bool
	Paths []Word
}

// StopSignal is STOPSIGNAL SIGNAL.
type StopSignal struct {
	*node
	Signal Word
}

// Healthcheck is HEALTHCHECK NONE or HEALTHCHECK [OPTION...] CMD COMMAND. Durations not given are 0.
type Healthcheck struct {
	*node
	None bool
	Command
	Interval, Timeout, StartPeriod, StartInterval time.Duration
	Retries                                       int
}

// Shell is SHELL ["PROGRAM", "ARG"...].
type Shell struct {
	*node
	Args []string
}

// Onbuild is ONBUILD TRIGGER.
type Onbuild struct {
	*node
	// Text is the trigger as an image configuration stores it: one line, and the bodies of its heredocs.
	Text string
	// Trigger is Text, parsed.
	Trigger Instruction
}

// Maintainer is MAINTAINER TEXT.
type Maintainer struct {
	*node
	Name string
}

// Rsync is Charliecloud's RSYNC [+m|+l|+u|+z] [RSYNC-OPTION...] SRC... DEST, also written NSYNC.
type Rsync struct {
	*node
	Mode    byte // 'm', 'l', 'u' or 'z'; 'l' if not given
	Options []Word
	Sources []Word
	Dest    Word
}
