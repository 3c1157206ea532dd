package ingest

import (
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// voice is what a session has to say to its agent: the newest acknowledgement, and a goodbye. A session that has nothing to
// say has no goroutine for it, one that has borrows one of the helpers. What is said is the newest when it is said, so a
// slow agent gets fewer acknowledgements, never a queue.
//
//	silent ──tell──▶ speaking ──nothing left──▶ silent
//	                     ╰──send failed──▶ mute
type voice struct {
	stream grpc.ServerStream
	epoch  uint64

	mu sync.Mutex
	// acked is the newest sequence number to acknowledge; again has it said although it was.
	acked, said uint64
	again       bool
	// parting is how the stream is to end by the server's will, nil if it is not.
	parting error
	parted  bool
	cutoff  *time.Timer
	// ending is true once parting is set. The receiver reads it, and takes no more.
	ending atomic.Bool

	speaking, mute bool
	// silence is closed when speaking ends, if someone waits for it.
	silence chan struct{}
}

// partingTime is how long an agent may take to half-close its stream.
const partingTime = 5 * time.Second

// ack has the batches up to seq acknowledged. The flusher calls it, in the order of the sequence.
func (s *session) ack(seq uint64) {
	v := &s.voice
	v.mu.Lock()
	defer v.mu.Unlock()
	v.acked = seq
	s.speak()
}

// ackAgain repeats the newest acknowledgement.
func (s *session) ackAgain() {
	v := &s.voice
	v.mu.Lock()
	defer v.mu.Unlock()
	v.again = true
	s.speak()
}

// end asks the agent to end the stream, and makes sure that it ends. Only the first cause counts.
func (s *session) end(cause error) {
	v := &s.voice
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.parting != nil || v.mute {
		return
	}
	v.parting = cause
	v.ending.Store(true)
	v.cutoff = time.AfterFunc(partingTime, func() { cut(s.stream.Context()) })
	s.speak()
}

// speak is called with mu held.
func (s *session) speak() {
	if v := &s.voice; !v.speaking && !v.mute {
		v.speaking = true
		s.server.helpers.run(v)
	}
}

// next returns what to say, nil for nothing: then speaking has ended.
func (v *voice) next() *gohubv1.StreamResponse {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.mute:
	case v.acked > v.said || v.again:
		v.said, v.again = v.acked, false
		return &gohubv1.StreamResponse{Message: &gohubv1.StreamResponse_Ack{Ack: &gohubv1.Ack{Epoch: v.epoch, Seq: v.acked}}}
	case v.parting != nil && !v.parted:
		v.parted = true
		goodbye := &gohubv1.Goodbye{Code: uint32(status.Code(v.parting)), Message: status.Convert(v.parting).Message()}
		return &gohubv1.StreamResponse{Message: &gohubv1.StreamResponse_Goodbye{Goodbye: goodbye}}
	}
	v.speaking = false
	if v.silence != nil {
		close(v.silence)
		v.silence = nil
	}
	return nil
}

// run sends until there is nothing left to say. It is an errand.
func (v *voice) run() {
	for response := v.next(); response != nil; response = v.next() {
		if err := v.stream.SendMsg(response); err != nil {
			// The stream is broken, and its receiver will say so.
			v.mu.Lock()
			v.mute = true
			v.mu.Unlock()
		}
	}
}

// close ends speaking for good and waits for it: a stream must not be written once its handler has returned. It returns how
// the stream is to end by the server's will, nil if by the agent's.
func (s *session) close() error {
	v := &s.voice
	v.mu.Lock()
	v.mute = true
	var silence chan struct{}
	if v.speaking {
		v.silence = make(chan struct{})
		silence = v.silence
		if v.cutoff == nil { // an agent that does not read may block the sender
			v.cutoff = time.AfterFunc(partingTime, func() { cut(s.stream.Context()) })
		}
	}
	cause := v.parting
	v.mu.Unlock()
	if silence != nil {
		<-silence
	}
	if v.cutoff != nil {
		v.cutoff.Stop()
	}
	return cause
}
