package portal

import (
	"slices"

	"github.com/pave-dev/pave/reconciler"
)

// Identity is who somebody is, as the place says where they signed in.
type Identity struct {
	// ID stays theirs for ever and is nobody else's. A name or an e-mail address
	// may become another's, so neither lets anybody do anything.
	ID          string
	Name, Email string
	// Handle is their account on the forge; empty where nobody says which it is.
	Handle string
	// Groups are the ids of the groups that they belong to there.
	Groups []string
	// Operator says that they run this portal, on the machine that it runs on.
	Operator bool
}

// Role is what a person may do, from little to much.
type Role string

// A viewer reads. A developer belongs to a team and may ask for things. An owner
// belongs to the team that a document is of. The platform team answers for all.
const (
	Viewer       Role = "viewer"
	Developer    Role = "developer"
	Owner        Role = "owner"
	PlatformTeam Role = "platform"
)

// Person is who asks for a page, as the platform of today knows them.
type Person struct {
	Identity
	// Teams are the names of their teams, sorted.
	Teams []string
	// Role is viewer, developer or platform: what holds for any document. See
	// [Person.RoleFor].
	Role Role
}

// newPerson tells what somebody is to a platform.
func newPerson(who Identity, platform *reconciler.Platform) *Person {
	p := &Person{Identity: who, Role: Viewer}
	for name, team := range platform.Teams {
		if group := team.Groups.OIDC; group != "" && slices.Contains(who.Groups, group) {
			p.Teams = append(p.Teams, name)
		}
	}
	slices.Sort(p.Teams)
	switch owner := platform.Settings.Owner; {
	case who.Operator || owner != "" && slices.Contains(p.Teams, owner):
		p.Role = PlatformTeam
	case len(p.Teams) > 0:
		p.Role = Developer
	}
	return p
}

// RoleFor is what a person may do with the documents of a team.
func (p *Person) RoleFor(team string) Role {
	if p.Role == Developer && slices.Contains(p.Teams, team) {
		return Owner
	}
	return p.Role
}

// MayWrite tells whether a person may ask for anything to change. What exactly is
// for the rules to decide.
func (p *Person) MayWrite() bool { return p != nil && p.Role != Viewer }
