package live

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Why a viewer is not let in, besides that the server stops.
var (
	errFull        = errors.New("no place for another viewer")
	errAddressFull = errors.New("too many viewers from one address")
)

// places counts the viewers, and those who are being upgraded, in all and by address. Hub.mu guards it.
type places struct {
	taken int
	// by has the addresses that have a place, so never more than there are places.
	by map[netip.Prefix]int
}

// reserve takes a place for a viewer at an address, or says why there is none. release gives it back.
func (h *Hub) reserve(at netip.Prefix) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.stopped:
		return errStopping
	case h.places.taken >= h.options.MaxViewers:
		h.metrics.refusedFull.Inc()
		return errFull
	case at.IsValid() && h.places.by[at] >= h.options.MaxViewersPerAddress:
		h.metrics.refusedAddress.Inc()
		return fmt.Errorf("%w: %d are open, which is the limit (max_viewers_per_address); close some, and if this is a proxy's address, have the limit raised",
			errAddressFull, h.options.MaxViewersPerAddress)
	}
	h.places.taken++
	if at.IsValid() {
		h.places.by[at]++
	}
	h.running.Add(1)
	return nil
}

func (h *Hub) release(at netip.Prefix) {
	h.mu.Lock()
	h.places.taken--
	if h.places.by[at]--; h.places.by[at] <= 0 {
		delete(h.places.by, at)
	}
	h.mu.Unlock()
	h.running.Done()
}

// turnAway answers a viewer for whom there is no place, before the upgrade.
func turnAway(w http.ResponseWriter, err error) {
	w.Header().Set("Retry-After", "10")
	switch {
	case errors.Is(err, errAddressFull):
		http.Error(w, err.Error(), http.StatusTooManyRequests)
	case errors.Is(err, errFull):
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	default:
		http.Error(w, "the server stops; connect again when it is back", http.StatusServiceUnavailable)
	}
}

// noPlace is the status of a watch for which there is no place.
func noPlace(err error) error {
	if errors.Is(err, errStopping) {
		return errStopping
	}
	return status.Error(codes.ResourceExhausted, err.Error())
}
