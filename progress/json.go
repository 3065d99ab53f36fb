package progress

import (
	"encoding/json"
	"io"
	"strings"
	"sync"
	"time"
)

// progressEvery is how often at most a blob's progress is told.
const progressEvery = 250 * time.Millisecond

// JSON writes each event as a JSON object on a line of its own.
type JSON struct {
	mu   sync.Mutex
	enc  *json.Encoder
	told map[string]time.Time
	out  map[int]*lineWriter
}

// NewJSON writes to w. What cannot be written is lost.
func NewJSON(w io.Writer) *JSON {
	j := &JSON{enc: json.NewEncoder(w), told: map[string]time.Time{}, out: map[int]*lineWriter{}}
	j.enc.SetEscapeHTML(false)
	return j
}

// Event writes e.
func (j *JSON) Event(e Event) {
	if e.Kind == StepEnd {
		j.mu.Lock()
		out := j.out[e.ID]
		delete(j.out, e.ID)
		j.mu.Unlock()
		if out != nil {
			out.flush()
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if e.Kind == BlobProgress {
		if e.Time.Sub(j.told[e.Digest]) < progressEvery {
			return
		}
		j.told[e.Digest] = e.Time
	}
	e.Version, e.Time = Version, e.Time.UTC()
	_ = j.enc.Encode(e) // to standard error: nothing to do if it fails
}

// Output makes events of a step's output.
func (j *JSON) Output(step int) io.Writer {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.out[step] == nil {
		j.out[step] = &lineWriter{line: func(text string) {
			j.Event(Event{Time: time.Now(), Kind: StepOutput, ID: step, Text: strings.ToValidUTF8(text, "�")})
		}}
	}
	return j.out[step]
}
