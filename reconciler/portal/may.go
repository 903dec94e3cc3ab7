package portal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/pave-dev/pave/reconciler"
)

// rules are those of the platform of today, for one person. They hold for what
// that person sees of the past as well.
type rules struct {
	judge  reconciler.Judge
	today  *Snapshot
	person *Person // nil is nobody in particular
	log    *slog.Logger
}

// judgeOf compiles the rules of a snapshot, once.
func (p *portal) judgeOf(ctx context.Context, today *Snapshot) (reconciler.Judge, error) {
	if p.Rules == nil {
		return nil, errRules
	}
	p.judging.Lock()
	defer p.judging.Unlock()
	if p.judged == today.Tree && p.judge != nil {
		return p.judge, nil
	}
	judge, violations := p.Rules.Compile(ctx, today.Tree, today.Platform.Settings)
	if judge == nil {
		return nil, fmt.Errorf("%w: %v", errRules, violations)
	}
	p.judged, p.judge = today.Tree, judge
	return judge, nil
}

// denied tells whether violations keep a person from what they ask for: in the
// portal there is nobody to approve it.
func denied(violations []reconciler.Violation) bool {
	return slices.ContainsFunc(violations, func(v reconciler.Violation) bool { return v.Level.Holds() })
}

// visitor is a person as rules see them.
func (p *Person) visitor() *reconciler.Visitor {
	if p == nil {
		return nil
	}
	return &reconciler.Visitor{ID: p.ID, Name: p.Name, Role: string(p.Role), Teams: p.Teams, Groups: p.Groups}
}

// may returns what the rules say of a person who asks that a request be as it is
// given: to create, update or delete it. Where that changes the request's service,
// ask for it as it was as well. Any violation that holds is a denial, and no
// verdict is one.
func (v *view) may(ctx context.Context, action string, request *reconciler.Request) []reconciler.Violation {
	// Whose it is, is what the platform says and not what was sent.
	s := about(v.rules.today.Platform, "request", request.Name, request.Document, request.Service)
	s.Kind, s.Change.Action = "ask", action
	violations, err := v.rules.ask(ctx, s)
	if err != nil {
		v.rules.log.Warn("the portal cannot tell who may ask for what", "error", err)
		violations = []reconciler.Violation{{Level: reconciler.Deny, Kind: s.Of, Name: s.Name, Message: errRules.Error(), Hint: "ask the platform team"}}
	}
	return violations
}

// denied says why a person may not ask for a request to be so, and whom to ask;
// nil where they may.
func (v *view) denied(ctx context.Context, action string, request *reconciler.Request) *denial {
	violations := v.may(ctx, action, request)
	if !denied(violations) {
		return nil
	}
	var why []fault
	for _, x := range violations {
		why = append(why, v.fault(x))
	}
	return v.denial(v.rules.today.Platform.Service(request.Service).Owner, why)
}

// about is a document of a platform as rules see it, with the service that it is
// or is for, if any, and the team of that.
func about(platform *reconciler.Platform, kind, name string, document reconciler.Document, service string) reconciler.Subject {
	s := reconciler.Subject{Of: kind, Name: name, Document: document.JSON, Settings: platform.Settings.JSON}
	if of, found := platform.Services[service]; found {
		s.Service, s.Team = of.JSON, platform.Teams[of.Owner].JSON
	}
	if kind == "team" {
		s.Team = document.JSON
	}
	return s
}

// ask returns what the rules say of a subject.
func (r rules) ask(ctx context.Context, s reconciler.Subject) ([]reconciler.Violation, error) {
	s.Person, s.Now = r.person.visitor(), r.today.Revision.Time
	violations, err := r.judge.Judge(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRules, err)
	}
	return violations, nil
}

// errRules reports rules that do not say who may see and ask for what. What wraps
// it is for the log, for it may name anything.
var errRules = errors.New("the rules that say who may see what cannot be applied: see `pave validate`")
