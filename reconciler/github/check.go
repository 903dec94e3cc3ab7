package github

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/google/go-github/v62/github"

	"github.com/pave-dev/pave/reconciler"
)

// The limits that the forge documents, and our own number of annotations.
const (
	maxDescription    = 140 // characters of a status's description
	maxTitle          = 255
	maxAnnotationText = 4096
	annotationsAtOnce = 50
	maxAnnotations    = 3 * annotationsAtOnce
)

// verdict is the content of a check.
type verdict struct {
	state       reconciler.CheckState
	title       string // plain text
	summary     string // Markdown
	link        string
	annotations []*github.CheckRunAnnotation
}

func (f *Forge) verdictOf(report reconciler.Report, link string) verdict {
	return verdict{state: report.State, title: visible(report.Headline, maxTitle), summary: f.render(report), link: link,
		annotations: annotations(report)}
}

// annotations are what is wrong, at its place, the gravest first.
func annotations(report reconciler.Report) []*github.CheckRunAnnotation {
	levels := map[reconciler.Level]string{reconciler.Deny: "failure", reconciler.Approve: "notice", reconciler.Warn: "warning"}
	var all []*github.CheckRunAnnotation
	for _, v := range sorted(report.AllViolations()) {
		level := levels[v.Level]
		if level == "" {
			level = "failure"
		}
		if !linkable(v.Position.File) || len(all) == maxAnnotations || v.Level == reconciler.Preapprove {
			continue
		}
		line, message := max(v.Position.Line, 1), v.Message
		if v.Hint != "" {
			message += " (" + v.Hint + ")"
		}
		all = append(all, &github.CheckRunAnnotation{
			Path: github.String(v.Position.File), StartLine: &line, EndLine: &line, AnnotationLevel: &level,
			Title: github.String(visible(subject(v), maxTitle)), Message: github.String(visible(message, maxAnnotationText))})
	}
	return all
}

// putCheck brings the one check of the commit to the verdict.
func (f *Forge) putCheck(ctx context.Context, me self, commit string, v verdict) error {
	v.title = strings.TrimSpace(v.title)
	if v.title == "" {
		v.title = string(v.state)
	}
	if stands, known := f.checks[commit]; known && stands == v.digest() {
		return nil
	}
	delete(f.checks, commit)
	put := f.putStatus
	if me.app != 0 {
		put = f.putRun
	}
	if err := put(ctx, me, commit, v); err != nil {
		return err
	}
	if len(f.checks) >= maxRemembered {
		clear(f.checks)
	}
	f.checks[commit] = v.digest()
	return nil
}

// putStatus writes a commit status where another stands.
func (f *Forge) putStatus(ctx context.Context, _ self, commit string, v verdict) error {
	states := map[reconciler.CheckState]string{reconciler.CheckPassed: "success", reconciler.CheckFailed: "failure",
		reconciler.CheckPending: "pending", reconciler.CheckWaiting: "pending"}
	state, description := states[v.state], visible(v.title, maxDescription)
	if state == "" {
		state = "error"
	}
	stands, err := f.findStatus(ctx, commit)
	if err != nil {
		return err
	}
	if stands.GetState() == state && stands.GetDescription() == description && stands.GetTargetURL() == v.link {
		return nil
	}
	status := &github.RepoStatus{State: &state, Description: &description, Context: &f.check}
	if v.link != "" {
		status.TargetURL = &v.link
	}
	_, _, err = f.client.Repositories.CreateStatus(ctx, f.owner, f.name, commit, status)
	if isStatus(err, http.StatusUnprocessableEntity) { // a commit takes 1,000 statuses
		return fmt.Errorf("%w; push another commit to get a check again", err)
	}
	return err
}

// findStatus returns our status of the commit, nil where there is none.
func (f *Forge) findStatus(ctx context.Context, commit string) (*github.RepoStatus, error) {
	statuses, err := pages(func(page github.ListOptions) ([]*github.RepoStatus, *github.Response, error) {
		combined, resp, err := f.client.Repositories.GetCombinedStatus(ctx, f.owner, f.name, commit, &page)
		if err != nil {
			return nil, nil, err
		}
		return combined.Statuses, resp, nil
	})
	if err != nil {
		return nil, err
	}
	for _, s := range statuses {
		if s.GetContext() == f.check {
			return s, nil
		}
	}
	return nil, nil
}

// passed tells whether our check of the commit passed.
func (f *Forge) passed(ctx context.Context, me self, commit string) (bool, error) {
	if me.app != 0 {
		run, err := f.findRun(ctx, me, commit)
		return run.GetConclusion() == "success", err
	}
	status, err := f.findStatus(ctx, commit)
	return status.GetState() == "success", err
}

// putRun writes a check run. The forge only ever adds to the annotations of one, so
// others need another run, which then stands for the first. What a run was
// written from is kept in its external id: after a restart that tells what is
// missing, in one request.
func (f *Forge) putRun(ctx context.Context, me self, commit string, v verdict) error {
	run, err := f.findRun(ctx, me, commit)
	if err != nil {
		return err
	}
	marks, whole := digest(v.annotations), v.digest()
	id := marks + "-" + whole
	written := 0
	if run != nil {
		written = run.GetOutput().GetAnnotationsCount()
		same := strings.HasPrefix(run.GetExternalID(), marks+"-")
		reopened := run.GetStatus() == "completed" && v.state == reconciler.CheckPending
		if written > 0 && !same || written > len(v.annotations) || reopened {
			run, written = nil, 0
		}
	}
	if run != nil && run.GetExternalID() == id && written == len(v.annotations) {
		return nil
	}
	status, conclusion := runState(v.state)
	rest := slices.Collect(slices.Chunk(v.annotations[written:], annotationsAtOnce))
	if len(rest) == 0 {
		rest = [][]*github.CheckRunAnnotation{nil}
	}
	for _, batch := range rest {
		output := &github.CheckRunOutput{Title: &v.title, Summary: &v.summary, Annotations: batch}
		var link *string
		if v.link != "" {
			link = &v.link
		}
		if run == nil {
			run, _, err = f.client.Checks.CreateCheckRun(ctx, f.owner, f.name, github.CreateCheckRunOptions{
				Name: f.check, HeadSHA: commit, DetailsURL: link, ExternalID: &id, Status: &status, Conclusion: conclusion, Output: output})
		} else {
			_, _, err = f.client.Checks.UpdateCheckRun(ctx, f.owner, f.name, run.GetID(), github.UpdateCheckRunOptions{
				Name: f.check, DetailsURL: link, ExternalID: &id, Status: &status, Conclusion: conclusion, Output: output})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// findRun returns our check run of the commit, the latest where there are several.
func (f *Forge) findRun(ctx context.Context, me self, commit string) (*github.CheckRun, error) {
	runs, err := pages(func(page github.ListOptions) ([]*github.CheckRun, *github.Response, error) {
		found, resp, err := f.client.Checks.ListCheckRunsForRef(ctx, f.owner, f.name, commit,
			&github.ListCheckRunsOptions{CheckName: &f.check, AppID: &me.app, Filter: github.String("latest"), ListOptions: page})
		if err != nil {
			return nil, nil, err
		}
		return found.CheckRuns, resp, nil
	})
	if err != nil {
		return nil, err
	}
	var latest *github.CheckRun
	for _, run := range runs {
		if run.GetApp().GetID() == me.app && run.GetName() == f.check && run.GetHeadSHA() == commit && run.GetID() > latest.GetID() {
			latest = run
		}
	}
	return latest, nil
}

func runState(state reconciler.CheckState) (status string, conclusion *string) {
	switch state {
	case reconciler.CheckPending:
		return "in_progress", nil
	case reconciler.CheckPassed:
		return "completed", github.String("success")
	case reconciler.CheckWaiting:
		return "completed", github.String("action_required")
	}
	return "completed", github.String("failure")
}

func (v verdict) digest() string {
	return digest(v.state, v.title, v.summary, v.link, v.annotations)
}

// digest identifies a content.
func digest(content ...any) string {
	data, err := json.Marshal(content)
	if err != nil {
		panic(fmt.Sprintf("encode a check: %v", err)) // strings and numbers
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}
