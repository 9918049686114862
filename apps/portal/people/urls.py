"""Pages about people: one's own profile, the team, invitations. Below /portal/."""

from __future__ import annotations

from django.urls import path

from apps.portal.people import account, join, team

urlpatterns = [
    path("account", account.account, name="account"),
    path("account/profile", account.profile, name="account_profile"),
    path("account/new", account.open_new, name="account_new"),
    path("account/leave", account.leave, name="account_leave"),
    path("account/close", account.close, name="account_close"),
    path("account/reopen", account.reopen, name="account_reopen"),
    path("account/sessions/<int:session_id>/end", account.end_session, name="account_session_end"),
    path("team", team.team, name="team"),
    path("team/invite", team.invite, name="team_invite"),
    path("team/invitations/<int:invitation_id>/send", team.send_again, name="team_send_again"),
    path("team/invitations/<int:invitation_id>/revoke", team.revoke, name="team_revoke"),
    path("team/members/<int:member_id>/role", team.change_role, name="team_role"),
    path("team/members/<int:member_id>/remove", team.remove, name="team_remove"),
    path("team/members/<int:member_id>/hand-over", team.hand_over, name="team_hand_over"),
    path("join/<str:token>", join.join, name="join"),
    path("awaiting-approval", join.awaiting_approval, name="awaiting_approval"),
]
