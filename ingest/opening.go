package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// opening is a stream that is not a session yet. The handler's goroutine does the waiting, helpers the rest.
//
//	awaitHello ──▶ read ──▶ register ──▶ welcome
type opening struct {
	server       *Server
	session      *session
	registration registration
}

// open makes a session of a stream, which is then the one of its agent. The caller must forget it.
func (s *Server) open(stream grpc.ServerStream) (*session, error) {
	o := &opening{server: s, session: &session{server: s, stream: stream, incoming: newIncoming(stream)}}
	if err := o.awaitHello(); err != nil {
		return nil, err
	}
	if err := s.helpers.call(o.read); err != nil {
		return nil, err
	}
	if err := o.register(); err != nil {
		return nil, err
	}
	if err := s.helpers.call(o.welcome); err != nil {
		return nil, err
	}
	return o.session, nil
}

// awaitHello waits for the first message. An agent sends it at once; a peer that does not must not hold a stream, nor a stop
// of the server: it is cut off.
func (o *opening) awaitHello() error {
	cutOff := func() { cut(o.session.stream.Context()) }
	timer := time.AfterFunc(o.server.options.HelloTimeout, cutOff)
	defer timer.Stop()
	stopped := context.AfterFunc(o.server.stopping, cutOff)
	defer stopped()
	return o.session.incoming.wait()
}

func (o *opening) read() error {
	message, err := o.session.incoming.read(MaxMessageBytes)
	if err != nil {
		return err
	}
	defer message.Free()
	hello, err := readHello(text(message))
	if err == nil {
		o.registration.Registration, err = checkHello(hello, o.server.options.Now())
	}
	if err != nil {
		o.server.metrics.refused.Inc()
		return refusal(err)
	}
	o.session.word = o.server.clock.greet(hello.GetTimeUnixMillis())
	o.session.greeted = uint32(o.session.word.lead.at / time.Second)
	return nil
}

// maxHelloBytes is far above what facts and labels take. A message that is decoded takes a hundred times its bytes.
const maxHelloBytes = 64 << 10

// readHello decodes the first message, after it has looked that it is a hello and no more.
func readHello(wire string) (*gohubv1.Hello, error) {
	var said catalogue.Field // the last field of a oneof wins
	err := each(wire, func(field catalogue.Field) error {
		if field.Type == protowire.BytesType && field.Number >= requestHello && field.Number <= requestBacklog {
			said = field
		}
		return nil
	})
	hello := &gohubv1.Hello{}
	switch {
	case err != nil:
		return nil, fmt.Errorf("decode the first message: %w", err)
	case said.Number != requestHello:
		return nil, errors.New("the first message of a stream must be a hello")
	case len(said.Text) > maxHelloBytes:
		return nil, fmt.Errorf("a hello of %d bytes, the limit is %d", len(said.Text), maxHelloBytes)
	}
	if err := proto.Unmarshal([]byte(said.Text), hello); err != nil {
		return nil, fmt.Errorf("decode the hello: %w", err)
	}
	return hello, nil
}

func (o *opening) register() error {
	s := o.server
	if s.stopping.Err() != nil {
		return errStopping
	}
	err := s.registrar.register(o.session.stream.Context(), s.stopping, &o.registration)
	switch {
	case s.stopping.Err() != nil:
		return errStopping
	case err != nil:
		return o.unregistered(err)
	default:
		return nil
	}
}

func (o *opening) unregistered(cause error) error {
	if errors.Is(cause, storage.ErrTooManyHosts) {
		o.server.metrics.refusedHosts.Inc()
		o.server.log.Warn("a new agent is refused", "agent_id", o.registration.AgentID, "hostname", clip(o.registration.Facts.GetHostname()), "error", cause)
		return status.Error(codes.ResourceExhausted, cause.Error())
	}
	o.server.log.Error("can not register an agent", "agent_id", o.registration.AgentID, "error", cause)
	return status.Error(codes.Unavailable, "the server can not reach its database; try again later")
}

func (o *opening) welcome() error {
	s, one, host, cursor := o.server, o.session, o.registration.registered.Host, o.registration.registered.Cursor
	s.options.Observer.SetHost(host)
	welcome := &gohubv1.Welcome{HostId: uint32(host.ID), CommittedSeq: cursor.Seq, CommittedChecksum: cursor.Checksum, ServerVersion: s.options.Version}
	if err := one.stream.SendMsg(&gohubv1.StreamResponse{Message: &gohubv1.StreamResponse_Welcome{Welcome: welcome}}); err != nil {
		return err
	}
	one.host, one.agent, one.agentID, one.hostname = host.ID, host.AgentID, host.AgentID.String(), host.Facts.GetHostname()
	one.epoch = o.registration.Epoch
	if one.word.newest != 0 {
		s.clock.hear(host.ID, one.word.lead)
	}
	one.last, one.lastChecksum, one.growth = cursor.Seq, cursor.Checksum, firstGrowth
	one.welcomed, one.welcomedChecksum, one.acked = cursor.Seq, cursor.Checksum, cursor.Seq
	one.budget.limit = s.options.BufferBytes / 16
	one.shard = s.shards[int(host.ID)%len(s.shards)]
	one.voice.stream, one.voice.epoch = one.stream, one.epoch
	one.voice.acked, one.voice.said = cursor.Seq, cursor.Seq
	if s.replace(one) {
		host.ClonedAt = s.options.Now()
		s.options.Observer.SetHost(host)
	}
	return nil
}
