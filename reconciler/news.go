package reconciler

import (
	"maps"
	"reflect"
)

// news is what of a revision is not as it was in an earlier one, by the names of
// documents: nothing else needs to be looked at again. What a document is found to
// be follows from itself and from what it refers to; where anything changed that
// speaks of all of them, all are news.
type news struct {
	earlier  *Checked // nil where everything is news
	platform *Platform
	services map[string]bool // that say something else, are new or are gone
	requests map[string]bool
	// moved are the requests that are news, and those whose service is: what is
	// handed out, and by whom, may be something else.
	moved map[string]bool
	// reread are the requests that say what they said, and whose service does, of which
	// either was read again: what holds the last one would keep it in memory.
	reread map[string]bool
}

// renewed tells that so much was read again that all that holds it is to be made anew.
func (n *news) renewed() bool {
	return n == nil || n.everything() || len(n.reread)*mostNews > len(n.platform.Requests)
}

// everything tells that nothing is taken over.
func (n *news) everything() bool { return n.earlier == nil }

// mostNews is the part of a platform from which on it is looked at as a whole.
const mostNews = 4

// newsSince compares a platform with that of an earlier revision. refused are the
// documents that were refused by themselves, and which exist all the same.
func (c *Checked) newsSince(earlier *Checked, platform *Platform) *news {
	if earlier == nil || earlier.Refused() || earlier.reviewed != c.reviewed || !platform.governedLike(earlier.Platform) || !reflect.DeepEqual(c.Modules, earlier.Modules) {
		return &news{}
	}
	n := &news{earlier: earlier, platform: platform, services: map[string]bool{}, requests: map[string]bool{}, moved: map[string]bool{}, reread: map[string]bool{}}
	services := map[string]bool{} // that were read again
	addChanged(n.services, services, earlier.Platform.Services, platform.Services, func(s *Service) Document { return s.Document })
	addChanged(n.requests, n.reread, earlier.Platform.Requests, platform.Requests, func(r *Request) Document { return r.Document })
	for _, k := range differing(earlier.refused, c.refused) {
		switch k.kind {
		case "service":
			n.services[k.name] = true
		case "request":
			n.requests[k.name] = true
		default:
			return &news{}
		}
	}
	if (len(n.services)+len(n.requests))*mostNews > len(platform.Services)+len(platform.Requests) {
		return &news{}
	}
	maps.Copy(n.moved, n.requests)
	if len(n.services)+len(services) > 0 {
		for name, r := range platform.Requests {
			if n.services[r.Service] {
				n.moved[name] = true
			}
			if services[r.Service] {
				n.reread[name] = true
			}
		}
	}
	return n
}

// governedLike tells whether everything but services and requests is the same.
func (p *Platform) governedLike(other *Platform) bool {
	a, b := *p, *other
	a.Services, a.Requests, b.Services, b.Requests = nil, nil, nil, nil
	return reflect.DeepEqual(a, b)
}

// addChanged adds the names of the documents that are not the same in both, and of
// those that are, but were read again.
func addChanged[D any](changed, reread map[string]bool, before, after map[string]*D, document func(*D) Document) {
	found := 0
	for name, d := range after {
		old := before[name]
		if old != nil {
			found++
		}
		if old == d {
			continue
		}
		if old == nil || !document(d).same(document(old)) || document(d).Position != document(old).Position {
			changed[name] = true
		} else {
			reread[name] = true
		}
	}
	if found == len(before) {
		return
	}
	for name := range before {
		if after[name] == nil {
			changed[name] = true
		}
	}
}

// differing returns what is in one of two sets only.
func differing[K comparable](a, b map[K]bool) []K {
	var only []K
	for _, sets := range [][2]map[K]bool{{a, b}, {b, a}} {
		for k := range sets[0] {
			if !sets[1][k] {
				only = append(only, k)
			}
		}
	}
	return only
}

// key names a document.
type key struct{ kind, name string }

// findings are what is said of documents; those of which there is nothing to say
// are left out.
type findings map[key][]Violation

// all returns the findings of a kind of documents, in the order of their names.
func (f findings) all(kind string) []Violation {
	var all []Violation
	for _, name := range f.names(kind) {
		all = append(all, f[key{kind, name}]...)
	}
	return all
}

// names returns of which documents of a kind something is said, sorted.
func (f findings) names(kind string) []string {
	names := map[string]bool{}
	for k := range f {
		if k.kind == kind {
			names[k.name] = true
		}
	}
	return sortedNames(names)
}
