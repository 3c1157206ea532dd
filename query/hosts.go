package query

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// attributesOf returns what selectors and groups can ask of a host: its identity, its facts and its labels. A fact stands
// above a label of the same name, which no host should have.
func attributesOf(host *gohubv1.Host, now gohubv1.HostStatus) attributes {
	facts := host.GetFacts()
	return func(name string) string {
		switch name {
		case "host_id":
			return strconv.FormatUint(uint64(host.GetHostId()), 10)
		case "agent_id":
			return host.GetAgentId()
		case "status":
			switch now {
			case gohubv1.HostStatus_HOST_STATUS_UP:
				return "up"
			case gohubv1.HostStatus_HOST_STATUS_LATE:
				return "late"
			case gohubv1.HostStatus_HOST_STATUS_DOWN:
				return "down"
			default:
				return "unknown"
			}
		case "hostname":
			return facts.GetHostname()
		case "os":
			return facts.GetOs()
		case "platform":
			return facts.GetPlatform()
		case "platform_version":
			return facts.GetPlatformVersion()
		case "kernel_version":
			return facts.GetKernelVersion()
		case "arch":
			return facts.GetArch()
		case "cpu_model":
			return facts.GetCpuModel()
		case "cpu_cores":
			return strconv.FormatUint(uint64(facts.GetCpuCores()), 10)
		case "agent_version":
			return facts.GetAgentVersion()
		default:
			return host.GetLabels()[name]
		}
	}
}

// ListHosts implements the contract for gRPC: the answer is encoded already, and has its hosts as bytes only. REST is answered by
// serveHosts.
func (s *Service) ListHosts(ctx context.Context, request *gohubv1.ListHostsRequest) (*gohubv1.ListHostsResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	picks, err := newPicks(ctx, request.GetSelector())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if err := reserve(ctx, int(s.listed.Load())); err != nil { // how long this one is shows when it is there
		return nil, s.statusOf(err)
	}
	encoded := s.options.Fleet.AppendHosts(*lists.Get(0), picks.match())
	if picks.err != nil {
		return nil, s.statusOf(picks.err)
	}
	s.noteList(len(encoded))
	if of, sent := shareOf(ctx); sent {
		of.shrink(len(encoded))
	}
	response := new(gohubv1.ListHostsResponse)
	// What a message does not know it passes on as it is.
	response.ProtoReflect().SetUnknown(encoded)
	return response, nil
}

// firstList is how long a list of hosts is taken for before there was one: that of 4,000.
const firstList = 5 << 20

// noteList remembers how long lists of hosts become.
func (s *Service) noteList(bytes int) {
	for {
		longest := s.listed.Load()
		if int64(bytes) <= longest || s.listed.CompareAndSwap(longest, int64(bytes)) {
			return
		}
	}
}

// Codec returns a codec that besides sends what ListHosts has encoded already without another copy, which is megabytes for a large
// fleet, and takes its memory back once it is sent. A gRPC server may use it for all its services.
func Codec(inner encoding.CodecV2) encoding.CodecV2 { return codec{inner} }

type codec struct{ encoding.CodecV2 }

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(message any) (mem.BufferSlice, error) {
	if one, ours := message.(*parcel); ours {
		return one.encode(c)
	}
	if list, ours := message.(*gohubv1.ListHostsResponse); ours && len(list.GetHosts()) == 0 {
		encoded := []byte(list.ProtoReflect().GetUnknown())
		return mem.BufferSlice{mem.NewBuffer(&encoded, &lists)}, nil
	}
	return c.CodecV2.Marshal(message)
}

// lists keeps the memory of lists for the next ones.
var lists listPool

type listPool struct{ pool sync.Pool }

// Get implements mem.BufferPool. A list grows as it needs to.
func (p *listPool) Get(int) *[]byte {
	if kept, _ := p.pool.Get().(*[]byte); kept != nil {
		return kept
	}
	return new([]byte)
}

// Put implements mem.BufferPool.
func (p *listPool) Put(buf *[]byte) {
	*buf = (*buf)[:0]
	p.pool.Put(buf)
}

// serveHosts answers ListHosts over REST. It returns an error only if nothing is written yet.
func (s *Service) serveHosts(w http.ResponseWriter, r *http.Request) error {
	request := &gohubv1.ListHostsRequest{}
	if err := runtime.PopulateQueryParameters(request, r.URL.Query(), utilities.NewDoubleArray(nil)); err != nil {
		return status.Errorf(codes.InvalidArgument, "a parameter can not be read: %v", err)
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	picks, err := newPicks(ctx, request.GetSelector())
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	list := &hostList{to: w, picks: picks}
	if err = s.options.Fleet.WriteHosts(list, picks.match()); err == nil {
		err = list.end()
	}
	if err != nil && !list.begun && picks.err != nil {
		return s.statusOf(picks.err)
	}
	if err != nil {
		s.options.Logger.Debug("an answer was not taken whole", "error", err) // the client is gone, no one to tell
	}
	return nil
}

// hostList writes a list of hosts as REST has it. It begins with the first host, as the picking may be stopped before.
type hostList struct {
	to    http.ResponseWriter
	picks *picks
	begun bool
}

// Write implements io.Writer. It fails once hosts were left out that were not looked at.
func (l *hostList) Write(hosts []byte) (int, error) {
	if l.picks.err != nil {
		return 0, l.picks.err
	}
	if !l.begun {
		l.begun = true
		l.to.Header().Set("Content-Type", mediaTypes["json"])
		if _, err := io.WriteString(l.to, `{"hosts":[`); err != nil {
			return 0, err
		}
	}
	return l.to.Write(hosts)
}

func (l *hostList) end() error {
	_, err := l.Write([]byte(`]}`))
	return err
}

// picks tells which hosts a selector picks, until no one waits for the answer any more.
type picks struct {
	ctx    context.Context
	wanted selector
	// err says why hosts were left out that were not looked at.
	err error
}

func newPicks(ctx context.Context, text string) (*picks, error) {
	wanted, err := parseSelector(text)
	return &picks{ctx: ctx, wanted: wanted}, err
}

// match returns what picks the hosts, nil for all.
func (p *picks) match() func(*gohubv1.Host, gohubv1.HostStatus) bool {
	if len(p.wanted) == 0 {
		return nil
	}
	return p.pick
}

func (p *picks) pick(host *gohubv1.Host, now gohubv1.HostStatus) bool {
	if p.err == nil {
		p.err = p.ctx.Err()
	}
	return p.err == nil && p.wanted.matches(attributesOf(host, now))
}

// selection is the hosts that a query asks for.
type selection struct {
	hosts []*gohubv1.Host
	// all tells that no host is left out.
	all bool
}

// selectHosts finds the hosts that a range query names.
func (s *Service) selectHosts(ctx context.Context, request *gohubv1.QueryRangeRequest) (selection, error) {
	ids := slices.Clone(request.GetHostIds())
	if request.GetHostId() != 0 {
		ids = append(ids, request.GetHostId())
	}
	switch {
	case len(ids) == 0 && request.GetSelector() == "":
		return selection{}, status.Error(codes.InvalidArgument, "hostId is required, or hostIds, or a selector (* is all hosts); GET /api/v1/hosts lists them")
	case len(ids) > 0 && request.GetSelector() != "":
		return selection{}, status.Error(codes.InvalidArgument, "hosts are named both by id and by selector; leave one out")
	case len(ids) > maxHostIDs:
		return selection{}, status.Errorf(codes.InvalidArgument, "%d hosts are over the limit of %d that are named by id; use a selector", len(ids), maxHostIDs)
	case len(ids) > 0:
		var found selection
		slices.Sort(ids)
		for _, id := range slices.Compact(ids) {
			host, known := s.options.Fleet.Identity(storage.HostID(id))
			if !known {
				return selection{}, status.Errorf(codes.NotFound, "there is no host with id %d; GET /api/v1/hosts lists them", id)
			}
			found.hosts = append(found.hosts, host)
		}
		return found, nil
	}
	picks, err := newPicks(ctx, request.GetSelector())
	if err != nil {
		return selection{}, status.Error(codes.InvalidArgument, err.Error())
	}
	every := s.options.Fleet.Identities()
	found := selection{all: len(picks.wanted) == 0}
	for _, host := range every {
		if picks.pick(host, host.GetStatus()) {
			found.hosts = append(found.hosts, host)
		}
	}
	if picks.err != nil {
		return selection{}, s.statusOf(picks.err)
	}
	return found, nil
}

// ids are the hosts' for storage, where none stands for all.
func (s selection) ids() []storage.HostID {
	if s.all {
		return nil
	}
	ids := make([]storage.HostID, len(s.hosts))
	for i, host := range s.hosts {
		ids[i] = storage.HostID(host.GetHostId())
	}
	return ids
}

// intervals returns how often most of the hosts take a sample, and the shortest of all; 0 if no host tells.
func (s selection) intervals() (usual, shortest time.Duration) {
	count := map[time.Duration]int{}
	for _, host := range s.hosts {
		interval := intervalOf(host)
		if interval == 0 {
			continue
		}
		if shortest == 0 || interval < shortest {
			shortest = interval
		}
		if count[interval]++; count[interval] > count[usual] || count[interval] == count[usual] && interval < usual {
			usual = interval
		}
	}
	return usual, shortest
}

// patience is the longest interval that the steps of combined hosts are picked for: one host that samples each hour must not make
// the graph of all coarse.
const patience = 5 * time.Minute

// longestInterval returns the longest time between two samples of a host that is not over a limit; 0 if no host tells.
func (s selection) longestInterval(limit time.Duration) (longest time.Duration) {
	for _, host := range s.hosts {
		if interval := intervalOf(host); interval <= limit {
			longest = max(longest, interval)
		}
	}
	return longest
}

// rarerThan returns how many hosts take samples that are further apart than a step.
func (s selection) rarerThan(step time.Duration) (count int) {
	for _, host := range s.hosts {
		if intervalOf(host) > step {
			count++
		}
	}
	return count
}

// intervalOf returns how often a host takes a sample, 0 if it does not tell.
func intervalOf(host *gohubv1.Host) time.Duration {
	return time.Duration(host.GetFacts().GetIntervalMillis()) * time.Millisecond
}

// groups numbers the hosts by the values of their attributes, in the order of the hosts. It returns a number for each host,
// and the values of each group.
func (s selection) groups(by []string) (numbers []int32, values []map[string]string, err error) {
	place := map[string]int32{}
	numbers = make([]int32, len(s.hosts))
	for i, host := range s.hosts {
		of := attributesOf(host, host.GetStatus())
		group := make(map[string]string, len(by))
		var key []byte
		for _, name := range by {
			if name == "host" {
				name = "host_id"
			}
			group[name] = of(name)
			key = append(strconv.AppendQuote(key, group[name]), ',')
		}
		number, known := place[string(key)]
		if !known {
			number = int32(len(values))
			place[string(key)] = number
			values = append(values, group)
		}
		numbers[i] = number
	}
	if len(values) > maxGroups {
		return nil, nil, fmt.Errorf("group_by makes %d groups, the limit is %d", len(values), maxGroups)
	}
	return numbers, values, nil
}

// together returns the hosts that are not alone in their groups.
func (s selection) together(groups []int32) (some selection) {
	sizes := map[int32]int{}
	for _, group := range groups {
		sizes[group]++
	}
	for i, host := range s.hosts {
		if sizes[groups[i]] > 1 {
			some.hosts = append(some.hosts, host)
		}
	}
	return some
}

// Select returns those of the hosts that a selector picks, as a range query does. No server sees them, so that none has a status.
func Select(text string, hosts []*gohubv1.Host) ([]*gohubv1.Host, error) {
	wanted, err := parseSelector(text)
	if err != nil {
		return nil, err
	}
	for _, m := range wanted {
		if m.name == "status" {
			return nil, errors.New("the selector asks for status: only a server that runs knows which hosts are up; choose them by facts or labels")
		}
	}
	return slices.DeleteFunc(slices.Clone(hosts), func(host *gohubv1.Host) bool {
		return !wanted.matches(attributesOf(host, gohubv1.HostStatus_HOST_STATUS_UNSPECIFIED))
	}), nil
}
