# -2 log L at the optimum by lme4: sleepstudy (slopes) and Penicillin (crossed), REML and ML, by NLopt's BOBYQA with small
# tolerances. Its output is criteria.txt.
suppressMessages(library(lme4))
control <- lmerControl(optimizer = "nloptwrap", optCtrl = list(algorithm = "NLOPT_LN_BOBYQA", xtol_abs = 1e-9, ftol_abs = 1e-10, maxeval = 1e4))
cat(R.version.string, "lme4", as.character(packageVersion("lme4")), "nloptr", as.character(packageVersion("nloptr")), "\n")
for (reml in c(TRUE, FALSE)) {
  fits <- list(
    sleepstudy = lmer(Reaction ~ Days + (Days | Subject), sleepstudy, REML = reml, control = control),
    penicillin = lmer(diameter ~ 1 + (1 | plate) + (1 | sample), Penicillin, REML = reml, control = control)
  )
  for (name in names(fits)) {
    cat(name, if (reml) "REML" else "ML", sprintf("%.6f", -2 * as.numeric(logLik(fits[[name]]))), "\n")
  }
}
