package portal

import (
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// limits bound how often one reader asks.
type limits struct {
	every time.Duration // one request, in the long run
	burst int

	mu  sync.Mutex
	who map[string]*rate.Limiter // guarded by mu
}

// maxLimited bounds how many readers are told apart.
const maxLimited = 20_000

func newLimits(every time.Duration, burst int) *limits {
	return &limits{every: every, burst: burst, who: map[string]*rate.Limiter{}}
}

// allow counts one request.
func (l *limits) allow(who string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.who[who]
	if one == nil {
		if len(l.who) >= maxLimited { // who has been quiet is like one who is new
			maps.DeleteFunc(l.who, func(_ string, one *rate.Limiter) bool { return one.Tokens() >= float64(l.burst) })
		}
		if len(l.who) >= maxLimited {
			return false
		}
		one = rate.NewLimiter(rate.Every(l.every), l.burst)
		l.who[who] = one
	}
	return one.Allow()
}

// within tells whether a request is within the limits: those of its session, else
// those of its address. Signing in and forms have tighter ones.
func (p *portal) within(r *http.Request) bool {
	who := p.address(r)
	id := p.sessionID(r)
	if p.sessions.find(id) != nil {
		who = "session " + id
	}
	switch {
	case r.Method == http.MethodPost || strings.HasPrefix(r.URL.Path, "/login"):
		return p.writes.allow(who)
	case p.Direct: // this machine may ask itself
		return true
	}
	return p.reads.allow(who)
}

// address is where a request comes from: where the connection does, or, where that
// is a proxy of ours, the nearest one that is not. An address of IPv6 stands for
// its whole network, which one reader has.
func (p *portal) address(r *http.Request) string {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	at, err := netip.ParseAddr(host)
	for _, hop := range slices.Backward(hops) {
		if err != nil || !p.trusted(at) {
			break
		}
		next, wrong := netip.ParseAddr(strings.TrimSpace(hop))
		if wrong != nil {
			break
		}
		at = next
	}
	if err != nil {
		return host
	}
	if at = at.Unmap().WithZone(""); at.Is6() {
		if network, err := at.Prefix(64); err == nil {
			return network.String()
		}
	}
	return at.String()
}

// trusted tells whether an address is that of a proxy of ours.
func (p *portal) trusted(at netip.Addr) bool {
	at = at.Unmap().WithZone("")
	return slices.ContainsFunc(p.Proxies, func(network netip.Prefix) bool { return network.Contains(at) })
}
